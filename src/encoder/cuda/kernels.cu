// What a layer does beside its matrix products, for windows that lie behind one another without padding.
//
// `starts` holds the first token of each window and, last, the number of tokens. Whatever a kernel computes for a token depends on
// that token and its window alone, in an order that the window's length fixes: results are the same bits in any batch.
//
// The state after each normalisation is kept twice: in f32, which the next sum starts from, and in the type of the products.
#include "common.cuh"

namespace {

// Looks the token up in up to three tables, and normalises the sum. `segment_rows` is null without a third table.
template <typename T, int QUADS>
__device__ inline void embed(
    const unsigned *ids, const unsigned *positions, const unsigned *segments, const T *words, const T *places,
    const T *segment_rows, const float *weight, const float *bias, float epsilon, int hidden, int tokens, float *residual,
    T *state) {
    const int token = token_of_warp();
    if (token >= tokens) return;
    const size_t width = static_cast<size_t>(hidden);
    Row<QUADS> row;
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad) {
        const int from = row.column(quad);
        if (from >= hidden) continue;
        float place[4];
        load(row.at[quad], words + ids[token] * width + from);
        load(place, places + positions[token] * width + from);
#pragma unroll
        for (int i = 0; i < 4; ++i) row.at[quad][i] += place[i];
        if (segment_rows) {
            float segment[4];
            load(segment, segment_rows + segments[token] * width + from);
#pragma unroll
            for (int i = 0; i < 4; ++i) row.at[quad][i] += segment[i];
        }
    }
    row.normalise(weight, bias, epsilon, hidden, residual + token * width, state ? state + token * width : nullptr);
}

// Adds a product and its bias to the residual, and normalises the sum.
template <typename T, int QUADS>
__device__ inline void add_norm(
    const T *product, const float *product_bias, const float *weight, const float *bias, float epsilon, int hidden, int tokens,
    float *residual, T *state) {
    const int token = token_of_warp();
    if (token >= tokens) return;
    const size_t start = token * static_cast<size_t>(hidden);
    Row<QUADS> row;
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad) {
        const int from = row.column(quad);
        if (from >= hidden) continue;
        float shift[4], before[4];
        load(row.at[quad], product + start + from);
        load(shift, product_bias + from);
        load(before, residual + start + from);
#pragma unroll
        for (int i = 0; i < 4; ++i) row.at[quad][i] = row.at[quad][i] + shift[i] + before[i];
    }
    row.normalise(weight, bias, epsilon, hidden, residual + start, state ? state + start : nullptr);
}

// Adds a bias and applies GELU by the error function; four numbers a thread. `to` may be where they come from.
template <typename T>
__device__ inline void bias_gelu(const T *numbers, const float *bias, unsigned width, size_t fours, T *to) {
    const size_t four = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
    if (four >= fours) return;
    float inner[4], shift[4];
    load(inner, numbers + four * 4);
    load(shift, bias + four * 4 % width);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
        const float sum = inner[i] + shift[i];
        inner[i] = sum * share_below(sum);
    }
    store(to + four * 4, inner);
}

// Queries that a block answers, and keys that it looks at in one go.
constexpr int QUERIES = 64;
constexpr int KEYS = 64;

// A block's share of attention: some queries of one head of one window.
struct Tile {
    int start;  // the window's first token
    int length; // its tokens
    int first;  // the first query in it
    int head;

    __device__ Tile(const unsigned *starts, const unsigned *tiles) {
        const unsigned window = tiles[2 * blockIdx.x];
        start = static_cast<int>(starts[window]);
        length = static_cast<int>(starts[window + 1]) - start;
        first = static_cast<int>(tiles[2 * blockIdx.x + 1]);
        head = static_cast<int>(blockIdx.y);
    }
};

// What attention leaves out and behind when it is learned from.
struct Learning {
    Dropout dropout;
    unsigned tokens; // of all windows
    float *logs;     // `[head, token]`: the logarithm to base 2 of the sum that each query's probabilities are divided by

    // The index of a query's first probability among all of the batch, for dropout.
    __device__ unsigned index(const Tile &tile, int query) const {
        const unsigned step = (static_cast<unsigned>(tile.length) + 31) / 32 * 32;
        const unsigned window = (static_cast<unsigned>(tile.head) * tokens + static_cast<unsigned>(tile.start)) * 0x10001u;
        return window + static_cast<unsigned>(query) * step;
    }

    // Where something about a query lies in arrays like `logs`.
    __device__ size_t place(const Tile &tile, int query) const {
        return tile.head * static_cast<size_t>(tokens) + static_cast<size_t>(tile.start + query);
    }
};

// Softmax attention on the matrix units: 4 warps, 16 queries each, keys and values in two buffers that are filled in turn.
// `qkv` holds for each token all heads' queries, then keys, then values; `scale` includes the step from e to 2.
template <typename T, int WIDTH, bool LEARNS>
__device__ inline void attention_on_matrix_units(
    const T *qkv, const unsigned *starts, const unsigned *tiles, T *out, int heads, float scale, Learning learning) {
    // Rows of shared memory are 16 bytes longer than a key, so that eight of them start in different banks.
    constexpr int STRIDE = WIDTH + 8;
    alignas(16) __shared__ T keys[2][KEYS * STRIDE];
    alignas(16) __shared__ T values[2][KEYS * STRIDE];
    const Tile tile(starts, tiles);
    const size_t hidden = static_cast<size_t>(heads) * WIDTH;
    const T *queries = qkv + tile.start * 3 * hidden + tile.head * WIDTH;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % WARP;
    const int pair = lane % 4 * 2;
    const int rows[2] = {tile.first + thread / WARP * 16 + lane / 4, tile.first + thread / WARP * 16 + lane / 4 + 8};

    const auto fetch = [&](int from, int buffer) {
        constexpr int PIECES = WIDTH / 8;
        for (int piece = thread; piece < KEYS * PIECES; piece += 4 * WARP) {
            const int key = piece / PIECES, column = piece % PIECES * 8;
            const bool inside = from + key < tile.length;
            const T *source = queries + (inside ? from + key : 0) * 3 * hidden + hidden + column;
            copy_async(&keys[buffer][key * STRIDE + column], source, inside);
            copy_async(&values[buffer][key * STRIDE + column], source + hidden, inside);
        }
        end_copies();
    };
    fetch(0, 0);

    unsigned query[WIDTH / 16][4];
#pragma unroll
    for (int step = 0; step < WIDTH / 16; ++step) {
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            const int row = rows[part % 2], column = step * 16 + part / 2 * 8 + pair;
            query[step][part] =
                row < tile.length ? *reinterpret_cast<const unsigned *>(queries + row * 3 * hidden + column) : 0;
        }
    }

    float sums[WIDTH / 8][4] = {};
    float highest[2] = {NEGATIVE_INFINITY, NEGATIVE_INFINITY};
    float total[2] = {0, 0};
    const int rounds = (tile.length + KEYS - 1) / KEYS;
    for (int round = 0; round < rounds; ++round) {
        const int buffer = round % 2;
        if (round + 1 < rounds) {
            fetch((round + 1) * KEYS, 1 - buffer);
            await_copies<1>();
        } else {
            await_copies<0>();
        }
        __syncthreads();

        float scores[KEYS / 8][4] = {};
#pragma unroll
        for (int step = 0; step < WIDTH / 16; ++step) {
#pragma unroll
            for (int block = 0; block < KEYS / 16; ++block) {
                const int key = block * 16 + lane / 16 * 8 + lane % 8, column = step * 16 + lane / 8 % 2 * 8;
                unsigned right[4];
                load_matrices(right, &keys[buffer][key * STRIDE + column]);
                multiply<T>(scores[2 * block], query[step], right[0], right[1]);
                multiply<T>(scores[2 * block + 1], query[step], right[2], right[3]);
            }
        }

#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float best = highest[half];
#pragma unroll
            for (int block = 0; block < KEYS / 8; ++block) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float &score = scores[block][2 * half + i];
                    const bool inside = round * KEYS + block * 8 + pair + i < tile.length;
                    score = inside ? score * scale : NEGATIVE_INFINITY;
                    best = fmaxf(best, score);
                }
            }
            best = fmaxf(best, from_lane(best, 1));
            best = fmaxf(best, from_lane(best, 2));
            const float shrink = power_of_two(highest[half] - best);
            highest[half] = best;
            total[half] *= shrink;
#pragma unroll
            for (int block = 0; block < KEYS / 8; ++block) {
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float &score = scores[block][2 * half + i];
                    score = power_of_two(score - best);
                    total[half] += score;
                    if constexpr (LEARNS)
                        score *= learning.dropout.factor(
                            learning.index(tile, rows[half]) + static_cast<unsigned>(round * KEYS + block * 8 + pair + i));
                }
            }
#pragma unroll
            for (int block = 0; block < WIDTH / 8; ++block) {
                sums[block][2 * half] *= shrink;
                sums[block][2 * half + 1] *= shrink;
            }
        }

#pragma unroll
        for (int step = 0; step < KEYS / 16; ++step) {
            // The scores lie in the registers where the matrix unit wants its left factor.
            unsigned probabilities[4];
#pragma unroll
            for (int part = 0; part < 4; ++part) {
                const float *from = &scores[2 * step + part / 2][part % 2 * 2];
                probabilities[part] = pack<T>(from[0], from[1]);
            }
#pragma unroll
            for (int block = 0; block < WIDTH / 16; ++block) {
                const int key = step * 16 + lane % 16, column = block * 16 + lane / 16 * 8;
                unsigned right[4];
                load_matrices_transposed(right, &values[buffer][key * STRIDE + column]);
                multiply<T>(sums[2 * block], probabilities, right[0], right[1]);
                multiply<T>(sums[2 * block + 1], probabilities, right[2], right[3]);
            }
        }
        // The next round fills this buffer.
        __syncthreads();
    }

#pragma unroll
    for (int half = 0; half < 2; ++half) {
        total[half] += from_lane(total[half], 1);
        total[half] += from_lane(total[half], 2);
        if (rows[half] >= tile.length) continue;
        const float factor = 1.0f / total[half];
        if constexpr (LEARNS) {
            if (pair == 0) learning.logs[learning.place(tile, rows[half])] = highest[half] + log2f(total[half]);
        }
        T *to = out + (tile.start + rows[half]) * hidden + tile.head * WIDTH + pair;
#pragma unroll
        for (int block = 0; block < WIDTH / 8; ++block)
            *reinterpret_cast<unsigned *>(to + block * 8) =
                pack<T>(sums[block][2 * half] * factor, sums[block][2 * half + 1] * factor);
    }
}

// The same in f32, which matrix units do not multiply: one query a thread, keys and values shared by the block.
template <int WIDTH, bool LEARNS>
__device__ inline void attention_in_f32(
    const float *qkv, const unsigned *starts, const unsigned *tiles, float *out, int heads, float scale, Learning learning) {
    // Keys between two rescalings of the sums.
    constexpr int TOGETHER = 8;
    constexpr int ROUND = 32;
    alignas(16) __shared__ float keys[ROUND][WIDTH];
    alignas(16) __shared__ float values[ROUND][WIDTH];
    const Tile tile(starts, tiles);
    const size_t hidden = static_cast<size_t>(heads) * WIDTH;
    const float *queries = qkv + tile.start * 3 * hidden + tile.head * WIDTH;
    const int thread = static_cast<int>(threadIdx.x);
    const int row = tile.first + thread;
    const bool inside = row < tile.length;
    float query[WIDTH], sums[WIDTH] = {};
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) query[i] = inside ? queries[row * 3 * hidden + i] * scale : 0;
    float highest = NEGATIVE_INFINITY, total = 0;
    for (int from = 0; from < tile.length; from += ROUND) {
        const int count = tile.length - from < ROUND ? tile.length - from : ROUND;
        for (int place = thread * 4; place < ROUND * WIDTH; place += QUERIES * 4) {
            const int key = place / WIDTH, column = place % WIDTH;
            float key_part[4] = {}, value_part[4] = {};
            if (key < count) {
                const float *source = queries + (from + key) * 3 * hidden + hidden + column;
                load(key_part, source);
                load(value_part, source + hidden);
            }
            store(&keys[key][column], key_part);
            store(&values[key][column], value_part);
        }
        __syncthreads();
        for (int group = 0; group < count; group += TOGETHER) {
            float scores[TOGETHER];
            float best = highest;
#pragma unroll
            for (int i = 0; i < TOGETHER; ++i) {
                float score = 0;
#pragma unroll
                for (int column = 0; column < WIDTH; ++column) score += query[column] * keys[group + i][column];
                scores[i] = group + i < count ? score : NEGATIVE_INFINITY;
                best = fmaxf(best, scores[i]);
            }
            const float shrink = exp2f(highest - best);
            highest = best;
            total *= shrink;
#pragma unroll
            for (int column = 0; column < WIDTH; ++column) sums[column] *= shrink;
#pragma unroll
            for (int i = 0; i < TOGETHER; ++i) {
                float power = exp2f(scores[i] - best);
                total += power;
                if constexpr (LEARNS)
                    power *= learning.dropout.factor(
                        learning.index(tile, row) + static_cast<unsigned>(from + group + i));
#pragma unroll
                for (int column = 0; column < WIDTH; ++column) sums[column] += power * values[group + i][column];
            }
        }
        __syncthreads();
    }
    if (!inside) return;
    if constexpr (LEARNS) learning.logs[learning.place(tile, row)] = highest + log2f(total);
    float *to = out + (tile.start + row) * hidden + tile.head * WIDTH;
#pragma unroll
    for (int i = 0; i < WIDTH; ++i) to[i] = sums[i] / total;
}

template <typename T, int WIDTH, bool LEARNS>
__device__ inline void attention(
    const T *qkv, const unsigned *starts, const unsigned *tiles, T *out, int heads, float scale, Learning learning) {
    if constexpr (sizeof(T) == 4)
        attention_in_f32<WIDTH, LEARNS>(qkv, starts, tiles, out, heads, scale, learning);
    else
        attention_on_matrix_units<T, WIDTH, LEARNS>(qkv, starts, tiles, out, heads, scale, learning);
}

} // namespace

// The names that the host calls: one for each type and size.

#define ROW_KERNELS(T, QUADS)                                                                                             \
    extern "C" __global__ void embed_##T##_##QUADS(                                                                      \
        const unsigned *ids, const unsigned *positions, const unsigned *segments, const T *words, const T *places,       \
        const T *segment_rows, const float *weight, const float *bias, float epsilon, int hidden, int tokens,            \
        float *residual, T *state) {                                                                                     \
        embed<T, QUADS>(                                                                                                 \
            ids, positions, segments, words, places, segment_rows, weight, bias, epsilon, hidden, tokens, residual,      \
            state);                                                                                                      \
    }                                                                                                                    \
    extern "C" __global__ void add_norm_##T##_##QUADS(                                                                   \
        const T *product, const float *product_bias, const float *weight, const float *bias, float epsilon, int hidden,  \
        int tokens, float *residual, T *state) {                                                                         \
        add_norm<T, QUADS>(product, product_bias, weight, bias, epsilon, hidden, tokens, residual, state);               \
    }

// Hidden sizes up to 384, 768 and 1,024.
#define KERNELS(T)                                                                                                       \
    ROW_KERNELS(T, 3)                                                                                                    \
    ROW_KERNELS(T, 6)                                                                                                    \
    ROW_KERNELS(T, 8)                                                                                                    \
    extern "C" __global__ void bias_gelu_##T(                                                                            \
        const T *numbers, const float *bias, unsigned width, size_t fours, T *to) {                                      \
        bias_gelu<T>(numbers, bias, width, fours, to);                                                                   \
    }

KERNELS(float)
KERNELS(f16)
KERNELS(bf16)

// Attention without and with what learning needs. The kernel in f32 has a thread for each query.
#define ATTENTION(T, WIDTH)                                                                                              \
    extern "C" __global__ void __launch_bounds__(sizeof(T) == 4 ? QUERIES : 4 * WARP) attention_##T##_##WIDTH(           \
        const T *qkv, const unsigned *starts, const unsigned *tiles, T *out, int heads, float scale) {                   \
        attention<T, WIDTH, false>(qkv, starts, tiles, out, heads, scale, Learning());                                   \
    }                                                                                                                    \
    extern "C" __global__ void __launch_bounds__(sizeof(T) == 4 ? QUERIES : 4 * WARP) learn_attention_##T##_##WIDTH(     \
        const T *qkv, const unsigned *starts, const unsigned *tiles, T *out, int heads, float scale, unsigned tokens,    \
        unsigned seed, unsigned bound, float kept, float *logs) {                                                        \
        attention<T, WIDTH, true>(                                                                                       \
            qkv, starts, tiles, out, heads, scale, Learning{{seed, bound, kept}, tokens, logs});                         \
    }

ATTENTION(float, 32)
ATTENTION(float, 64)
ATTENTION(f16, 32)
ATTENTION(f16, 64)
ATTENTION(bf16, 32)
ATTENTION(bf16, 64)

// A few products of each token's state. `weight` is `[outputs, hidden]`, `projected` `[tokens, outputs]`.
extern "C" __global__ void project(
    const float *state, const float *weight, const float *bias, int hidden, int outputs, int tokens, float *projected) {
    const int token = token_of_warp();
    if (token >= tokens) return;
    const float *numbers = state + token * static_cast<size_t>(hidden);
    float *to = projected + token * static_cast<size_t>(outputs);
    for (int output = 0; output < outputs; ++output) {
        const float *factors = weight + output * static_cast<size_t>(hidden);
        float sum = 0;
        for (int from = static_cast<int>(threadIdx.x); from < hidden; from += WARP) sum += numbers[from] * factors[from];
        sum = sum_over_warp(sum);
        if (threadIdx.x == 0) to[output] = sum + bias[output];
    }
}

#include "learning.cuh"
