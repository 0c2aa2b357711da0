// The instructions that the kernels are made of, one function each. Everything that is not plain C++ is in this file, so that
// another one with the same functions can stand in for a card (tests/cuda/instructions.h).
#ifndef SPANQA_INSTRUCTIONS
#define SPANQA_INSTRUCTIONS

// 16-bit numbers travel as bits; all arithmetic is f32.
struct f16 {
    unsigned short bits;
};
struct bf16 {
    unsigned short bits;
};

__device__ inline float widen(float number) { return number; }

__device__ inline float widen(f16 number) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(number.bits));
    return wide;
}

__device__ inline float widen(bf16 number) { return __uint_as_float(static_cast<unsigned>(number.bits) << 16); }

template <typename T>
__device__ T narrow(float number);

template <>
__device__ inline float narrow<float>(float number) {
    return number;
}

template <>
__device__ inline f16 narrow<f16>(float number) {
    f16 narrow;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(number));
    return narrow;
}

template <>
__device__ inline bf16 narrow<bf16>(float number) {
    bf16 narrow;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(number));
    return narrow;
}

// Two neighbours in one register, the first in the lower half.
template <typename T>
__device__ inline unsigned pack(float first, float second) {
    return static_cast<unsigned>(narrow<T>(first).bits) | static_cast<unsigned>(narrow<T>(second).bits) << 16;
}

// Two to the power of a number, zero for negative infinity.
__device__ inline float power_of_two(float exponent) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(exponent));
    return power;
}

// The number of the lane whose own number differs in the bits of `mask`. All lanes of the warp must call it.
__device__ inline float from_lane(float number, int mask) { return __shfl_xor_sync(0xffffffffu, number, mask); }

// Starts copying 16 bytes from global to shared memory; zeros if they are not `inside`.
__device__ inline void copy_async(void *shared, const void *global, bool inside) {
    const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const int bytes = inside ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(bytes) : "memory");
}

// Ends a group of copies.
__device__ inline void end_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most `LEFT` groups of copies are under way.
template <int LEFT>
__device__ inline void await_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

// Four 8x8 matrices of 16-bit numbers: lane i brings the address of row i % 8 of matrix i / 8, and leaves with the numbers
// 2 * (i % 4) and 2 * (i % 4) + 1 of row i / 4 of each.
__device__ inline void load_matrices(unsigned (&matrices)[4], const void *row) {
    const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
                 : "r"(from)
                 : "memory");
}

// The same, each matrix transposed.
__device__ inline void load_matrices_transposed(unsigned (&matrices)[4], const void *row) {
    const unsigned from = static_cast<unsigned>(__cvta_generic_to_shared(row));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(matrices[0]), "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3])
                 : "r"(from)
                 : "memory");
}

// sums += left * right for a 16x16 and a 16x8 matrix, spread over the warp as the matrix unit wants them:
// lane i holds of `sums` the columns 2 * (i % 4) and the next of the rows i / 4 and i / 4 + 8.
template <typename T>
__device__ void multiply(float (&sums)[4], const unsigned (&left)[4], unsigned right_top, unsigned right_bottom);

template <>
__device__ inline void multiply<f16>(
    float (&sums)[4], const unsigned (&left)[4], unsigned right_top, unsigned right_bottom) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right_top), "r"(right_bottom));
}

template <>
__device__ inline void multiply<bf16>(
    float (&sums)[4], const unsigned (&left)[4], unsigned right_top, unsigned right_bottom) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
                 : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "r"(right_top), "r"(right_bottom));
}

#endif
