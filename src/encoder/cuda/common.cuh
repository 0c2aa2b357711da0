// What the kernels of both directions are made of.
#ifndef SPANQA_COMMON
#define SPANQA_COMMON

#include "instructions.cuh"


namespace {

constexpr int WARP = 32;
constexpr float NEGATIVE_INFINITY = -__builtin_huge_valf();

// Four neighbours at once.
template <typename T>
struct alignas(4 * sizeof(T)) Four {
    T at[4];
};

template <typename T>
__device__ inline void load(float (&numbers)[4], const T *from) {
    const Four<T> four = *reinterpret_cast<const Four<T> *>(from);
#pragma unroll
    for (int i = 0; i < 4; ++i) numbers[i] = widen(four.at[i]);
}

template <typename T>
__device__ inline void store(T *to, const float (&numbers)[4]) {
    Four<T> four;
#pragma unroll
    for (int i = 0; i < 4; ++i) four.at[i] = narrow<T>(numbers[i]);
    *reinterpret_cast<Four<T> *>(to) = four;
}

__device__ inline float sum_over_warp(float number) {
#pragma unroll
    for (int mask = WARP / 2; mask > 0; mask /= 2) number += from_lane(number, mask);
    return number;
}

// The share of the normal distribution below a number: half of 1 + erf(x / sqrt(2)). Of its lower half the logarithm to base 2 is nearly a
// parabola; the fit, which tests/fixtures/fit_functions.py makes, is within 1e-7 of the share. It falls to zero beyond its range, and
// not-a-number stays what it is.
__device__ inline float share_below(float number) {
    const float distance = fabsf(number);
    float bits = 2.835057825e-06f;
    bits = bits * distance - 3.937915017e-05f;
    bits = bits * distance + 1.861859912e-04f;
    bits = bits * distance + 1.369250372e-04f;
    bits = bits * distance - 7.063408317e-03f;
    bits = bits * distance + 5.249617203e-02f;
    bits = bits * distance + 4.592081982e-01f;
    bits = bits * distance + 1.151105205e+00f;
    bits = bits * distance + 1.0f;
    const float tail = power_of_two(-bits);
    return number < 0 ? tail : 1.0f - tail;
}

// How GELU rises at a number: the share below it, and the number times the density there.
__device__ inline float gelu_gradient(float number) {
    const float density = 0.3989422804f * power_of_two(number * number * -0.7213475204f);
    return share_below(number) + number * density;
}

// Which numbers are left out, as src/encoder/dropout.rs says it: none if the bound is zero.
struct Dropout {
    unsigned seed, bound;
    float kept; // what the others are multiplied with

    __device__ float factor(unsigned index) const {
        unsigned bits = index * 0x9e3779b1u ^ seed;
        bits = (bits ^ bits >> 16) * 0x85ebca6bu;
        bits = (bits ^ bits >> 13) * 0xc2b2ae35u;
        return (bits ^ bits >> 16) < bound ? 0.0f : kept;
    }
};

// One token's numbers, spread over a warp in `QUADS` times four neighbours.
template <int QUADS>
struct Row {
    float at[QUADS][4];

    __device__ static int column(int quad) { return (quad * WARP + static_cast<int>(threadIdx.x)) * 4; }

    // Makes the mean zero and the width one. Returns what the numbers were multiplied with.
    __device__ float standardise(float epsilon, int hidden) {
        float sum = 0;
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad)
            if (column(quad) < hidden) sum += (at[quad][0] + at[quad][1]) + (at[quad][2] + at[quad][3]);
        const float mean = sum_over_warp(sum) / static_cast<float>(hidden);
        float squares = 0;
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad) {
            if (column(quad) >= hidden) continue;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                at[quad][i] -= mean;
                squares += at[quad][i] * at[quad][i];
            }
        }
        const float scale = 1.0f / sqrtf(sum_over_warp(squares) / static_cast<float>(hidden) + epsilon);
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad) {
            if (column(quad) >= hidden) continue;
#pragma unroll
            for (int i = 0; i < 4; ++i) at[quad][i] *= scale;
        }
        return scale;
    }

    // Multiplies with the weight of a normalisation and adds its bias.
    __device__ void stretch(const float *weight, const float *bias, int hidden) {
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad) {
            const int from = column(quad);
            if (from >= hidden) continue;
            float factors[4], shifts[4];
            load(factors, weight + from);
            load(shifts, bias + from);
#pragma unroll
            for (int i = 0; i < 4; ++i) at[quad][i] = at[quad][i] * factors[i] + shifts[i];
        }
    }

    // Leaves numbers out; the row's first one has this index.
    __device__ void drop(Dropout dropout, size_t start, int hidden) {
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad) {
            if (column(quad) >= hidden) continue;
#pragma unroll
            for (int i = 0; i < 4; ++i)
                at[quad][i] *= dropout.factor(static_cast<unsigned>(start) + static_cast<unsigned>(column(quad) + i));
        }
    }

    // Loads the numbers, and zeros beyond them.
    __device__ void get(const float *from, int hidden) {
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad) {
            if (column(quad) < hidden) {
                load(at[quad], from + column(quad));
            } else {
#pragma unroll
                for (int i = 0; i < 4; ++i) at[quad][i] = 0;
            }
        }
    }

    // Stores the numbers; `to` may be null.
    template <typename T>
    __device__ void put(T *to, int hidden) const {
        if (!to) return;
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad)
            if (column(quad) < hidden) store(to + column(quad), at[quad]);
    }

    // Normalises, and stores in both types; `state` may be null.
    template <typename T>
    __device__ void normalise(const float *weight, const float *bias, float epsilon, int hidden, float *residual, T *state) {
        standardise(epsilon, hidden);
        stretch(weight, bias, hidden);
        put(residual, hidden);
        put(state, hidden);
    }
};

// The token of this warp; blocks are 32 x n threads.
__device__ inline int token_of_warp() { return static_cast<int>(blockIdx.x * blockDim.y + threadIdx.y); }

} // namespace

#endif
