// A CUDA card's threads and instructions on a CPU: enough of them to run src/encoder/cuda/kernels.cu, which is included after this.
//
// The threads of a block are coroutines that take turns. Where the lanes of a warp act together, each leaves what it brings, waits
// for the others, and computes its own part of the result. The order of turns can be changed: a result that depends on it
// shows a missing barrier.
#pragma once
#define SPANQA_INSTRUCTIONS // instead of src/encoder/cuda/instructions.cuh

#include <algorithm>
#include <array>
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(threads)

struct Dimensions {
    unsigned x, y, z;
};

inline Dimensions threadIdx, blockIdx, blockDim, gridDim;

using std::isfinite;
using std::min;

namespace card {

constexpr int LANES = 32;
constexpr size_t STACK = 64 << 10;

// Waits until as many threads have come as were expected.
struct Barrier {
    int arrived = 0;
    unsigned round = 0;
};

// What the lanes of a warp bring to an instruction.
struct Warp {
    Barrier brought, taken;
    alignas(16) unsigned char inputs[LANES][32];
};

struct Thread {
    ucontext_t context;
    jmp_buf here;
    Dimensions place;
    bool begun = false, done = false;
    bool at_barrier = false; // of the block
    std::vector<unsigned char> stack = std::vector<unsigned char>(STACK);
    // Copies that were started: groups that were ended, and the one that is open.
    std::vector<std::vector<std::function<void()>>> groups;
    std::vector<std::function<void()>> open;
};

// The block that is running; blocks run one after another.
struct Block {
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    Barrier all;
    jmp_buf scheduler;
    size_t current = 0;
    std::function<void()> kernel;

    Thread &thread() { return threads[current]; }
    Warp &warp() { return warps[current / LANES]; }
};

inline Block block;

// Whether copies are made when they are started; otherwise as late as they may be.
inline bool eager = false;

// Contexts are only for the first entry: jumps do without the system calls that changing them takes.
inline void give_way() {
    if (!_setjmp(block.thread().here)) _longjmp(block.scheduler, 1);
}

// Lets the current thread run until it gives way.
[[gnu::noinline]] inline void resume() {
    if (_setjmp(block.scheduler)) return;
    Thread &thread = block.thread();
    if (thread.begun) _longjmp(thread.here, 1);
    thread.begun = true;
    setcontext(&thread.context);
}

inline void wait(Barrier &barrier, size_t expected) {
    const unsigned round = barrier.round;
    if (++barrier.arrived == static_cast<int>(expected)) {
        barrier.arrived = 0;
        ++barrier.round;
    }
    while (barrier.round == round) give_way();
}

inline void begin() {
    block.kernel();
    block.thread().done = true;
    give_way();
}

// Who goes first: shared memory that is used without a barrier shows in the difference.
enum class Order { FORWARDS, REVERSED, WARPS };

// Runs one block to its end.
inline void run_block(Dimensions shape, Order order, const std::function<void()> &kernel) {
    const size_t count = static_cast<size_t>(shape.x) * shape.y * shape.z;
    block.threads.resize(count);
    block.warps.assign((count + LANES - 1) / LANES, Warp());
    block.all = Barrier();
    block.kernel = kernel;
    for (size_t i = 0; i < count; ++i) {
        Thread &thread = block.threads[i];
        thread.begun = thread.done = thread.at_barrier = false;
        thread.groups.clear();
        thread.open.clear();
        thread.place = {
            static_cast<unsigned>(i % shape.x), static_cast<unsigned>(i / shape.x % shape.y),
            static_cast<unsigned>(i / shape.x / shape.y)};
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.data();
        thread.context.uc_stack.ss_size = thread.stack.size();
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, begin, 0);
    }
    size_t left = count;
    const auto turn_of = [&](size_t thread) {
        block.current = thread;
        if (block.thread().done) return;
        threadIdx = block.thread().place;
        resume();
        left -= block.thread().done;
    };
    while (left > 0) {
        if (order != Order::WARPS) {
            for (size_t turn = 0; turn < count; ++turn) turn_of(order == Order::REVERSED ? count - 1 - turn : turn);
            continue;
        }
        // Each warp goes as far as it can before the next one does anything.
        for (size_t first = 0; first < count; first += LANES) {
            const auto stuck = [&](const Thread &thread) { return thread.done || thread.at_barrier; };
            const auto begin = block.threads.begin() + static_cast<long>(first);
            const auto end = block.threads.begin() + static_cast<long>(std::min(first + LANES, count));
            do {
                for (size_t thread = first; thread < std::min(first + LANES, count); ++thread) turn_of(thread);
            } while (!std::all_of(begin, end, stuck));
        }
    }
}

// Runs a kernel block by block.
inline void run(Dimensions grid, Dimensions shape, const std::function<void()> &kernel) {
    const char *name = std::getenv("CARD_ORDER");
    const auto is = [name](const char *other) { return name && std::strcmp(name, other) == 0; };
    const Order order = is("reversed") ? Order::REVERSED : is("warps") ? Order::WARPS : Order::FORWARDS;
    eager = order == Order::WARPS;
    gridDim = grid;
    blockDim = shape;
    for (unsigned z = 0; z < grid.z; ++z)
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = {x, y, z};
                run_block(shape, order, kernel);
            }
}

inline int lane() { return static_cast<int>(block.current % LANES); }

// Leaves `mine` for the other lanes of the warp, and returns what each of them brought.
template <typename T>
std::array<T, LANES> exchange(const T &mine) {
    static_assert(sizeof(T) <= sizeof(Warp::inputs[0]));
    Warp &warp = block.warp();
    std::memcpy(warp.inputs[lane()], &mine, sizeof(T));
    wait(warp.brought, LANES);
    std::array<T, LANES> all;
    for (int i = 0; i < LANES; ++i) std::memcpy(&all[i], warp.inputs[i], sizeof(T));
    wait(warp.taken, LANES);
    return all;
}

} // namespace card

inline void __syncthreads() {
    card::Thread &thread = card::block.thread();
    thread.at_barrier = true;
    card::wait(card::block.all, card::block.threads.size());
    thread.at_barrier = false;
}

struct f16 {
    unsigned short bits;
};
struct bf16 {
    unsigned short bits;
};

inline float widen(float number) { return number; }

inline float widen(f16 number) {
    _Float16 half;
    std::memcpy(&half, &number.bits, sizeof half);
    return static_cast<float>(half);
}

inline float widen(bf16 number) {
    const uint32_t bits = static_cast<uint32_t>(number.bits) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

template <typename T>
T narrow(float number);

template <>
inline float narrow<float>(float number) {
    return number;
}

template <>
inline f16 narrow<f16>(float number) {
    const _Float16 half = static_cast<_Float16>(number);
    f16 narrow;
    std::memcpy(&narrow.bits, &half, sizeof half);
    return narrow;
}

template <>
inline bf16 narrow<bf16>(float number) {
    uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    if (std::isnan(number)) return {static_cast<unsigned short>(bits >> 16 | 0x40)};
    // To the nearest, ties to even.
    return {static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

template <typename T>
unsigned pack(float first, float second) {
    return static_cast<unsigned>(narrow<T>(first).bits) | static_cast<unsigned>(narrow<T>(second).bits) << 16;
}

template <typename T>
float part(unsigned pair, int place) {
    return widen(T{static_cast<unsigned short>(pair >> (16 * place))});
}

inline float power_of_two(float exponent) { return std::exp2(exponent); }

inline float from_lane(float number, int mask) { return card::exchange(number)[static_cast<size_t>(card::lane() ^ mask)]; }

inline void copy_async(void *shared, const void *global, bool inside) {
    const auto copy = [=] {
        if (inside)
            std::memcpy(shared, global, 16);
        else
            std::memset(shared, 0, 16);
    };
    if (card::eager)
        copy();
    else
        card::block.thread().open.push_back(copy);
}

inline void end_copies() {
    card::Thread &thread = card::block.thread();
    thread.groups.push_back(std::move(thread.open));
    thread.open.clear();
}

template <int LEFT>
void await_copies() {
    auto &groups = card::block.thread().groups;
    while (groups.size() > LEFT) {
        for (auto &copy : groups.front()) copy();
        groups.erase(groups.begin());
    }
}

inline void load_matrices(unsigned (&matrices)[4], const void *row) {
    const auto rows = card::exchange(row);
    for (int matrix = 0; matrix < 4; ++matrix) {
        const auto *from = static_cast<const unsigned short *>(rows[matrix * 8 + card::lane() / 4]);
        std::memcpy(&matrices[matrix], from + card::lane() % 4 * 2, sizeof matrices[matrix]);
    }
}

inline void load_matrices_transposed(unsigned (&matrices)[4], const void *row) {
    const auto rows = card::exchange(row);
    for (int matrix = 0; matrix < 4; ++matrix) {
        const auto number = [&](int i) {
            return static_cast<const unsigned short *>(rows[matrix * 8 + card::lane() % 4 * 2 + i])[card::lane() / 4];
        };
        matrices[matrix] = static_cast<unsigned>(number(0)) | static_cast<unsigned>(number(1)) << 16;
    }
}

template <typename T>
void multiply(float (&sums)[4], const unsigned (&left)[4], unsigned right_top, unsigned right_bottom) {
    struct Factors {
        unsigned left[4], right[2];
    };
    Factors mine;
    std::memcpy(mine.left, left, sizeof mine.left);
    mine.right[0] = right_top;
    mine.right[1] = right_bottom;
    const auto all = card::exchange(mine);
    for (int i = 0; i < 4; ++i) {
        const int row = card::lane() / 4 + i / 2 * 8, column = card::lane() % 4 * 2 + i % 2;
        for (int k = 0; k < 16; ++k) {
            const unsigned l = all[row % 8 * 4 + k % 8 / 2].left[row / 8 + k / 8 * 2];
            const unsigned r = all[column * 4 + k % 8 / 2].right[k / 8];
            sums[i] += part<T>(l, k % 2) * part<T>(r, k % 2);
        }
    }
}
