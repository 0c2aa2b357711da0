// Functions that the kernels compute in a way of their own, beside those of the C library.
#include "instructions.h"

#include "../../src/encoder/cuda/kernels.cu"

#include <cstdio>

int main() {
    double worst_share = 0, worst_gradient = 0;
    const auto look_at = [&](float number) {
        const double x = number, share = 0.5 * std::erfc(-x / std::sqrt(2.0));
        const double gradient = share + x * std::exp(-0.5 * x * x) / std::sqrt(2 * std::acos(-1.0));
        worst_share = std::max(worst_share, std::fabs(share_below(number) - share));
        worst_gradient = std::max(worst_gradient, std::fabs(gelu_gradient(number) - gradient));
    };
    for (int i = -4000000; i <= 4000000; ++i) look_at(static_cast<float>(i) * 3e-6f);
    std::printf("share below: %.1e off, GELU's gradient: %.1e off\n", worst_share, worst_gradient);
    // Far out it is all or nothing, and what is no number stays none.
    const float infinity = -NEGATIVE_INFINITY;
    bool sharp = share_below(infinity) == 1 && share_below(NEGATIVE_INFINITY) == 0 && std::isnan(share_below(std::nanf("")));
    for (float far = 12; far < 1e30f; far *= 1.5f) sharp = sharp && share_below(far) == 1 && share_below(-far) * far < 1e-30f;
    if (!sharp) std::printf("share_below goes wrong far out\n");
    // Half of that is the rounding of numbers near 1.
    return sharp && worst_share < 1e-7 && worst_gradient < 3e-7 ? 0 : 1;
}
