// What learning needs beside the kernels that answer: passes that keep what the way back needs, the way back, and the step.
//
// In the way of src/encoder/cpu/backprop, whose names are used here. The gradients of states are f32; what products read is in their type.
// Sums over tokens are made in two stages, each in an order that the number of tokens fixes: no kernel adds into memory that another
// block adds into, so that the same batch gives the same bits.
//
// A `normed` array holds rows of mean zero and width one, and `factors` what each was multiplied with.

namespace {

// Tokens that a block of 4 warps adds up.
constexpr int ROWS_OF_SUM = 32;
constexpr int WARPS = 4;

// The same as embed, from tables in f32, with dropout.
template <typename T, int QUADS>
__device__ inline void learn_embed(
    const unsigned *ids, const unsigned *positions, const unsigned *segments, const float *words, const float *places,
    const float *segment_rows, const float *weight, const float *bias, float epsilon, int hidden, int tokens, Dropout dropout,
    float *normed, float *factors, float *residual, T *state) {
    const int token = token_of_warp();
    if (token >= tokens) return;
    const size_t width = static_cast<size_t>(hidden), start = token * width;
    Row<QUADS> row;
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad) {
        const int from = row.column(quad);
        if (from >= hidden) continue;
        float other[4];
        load(row.at[quad], words + ids[token] * width + from);
        if (segment_rows) {
            load(other, segment_rows + segments[token] * width + from);
#pragma unroll
            for (int i = 0; i < 4; ++i) row.at[quad][i] += other[i];
        }
        load(other, places + positions[token] * width + from);
#pragma unroll
        for (int i = 0; i < 4; ++i) row.at[quad][i] += other[i];
    }
    const float factor = row.standardise(epsilon, hidden);
    if (threadIdx.x == 0) factors[token] = factor;
    row.put(normed + start, hidden);
    row.stretch(weight, bias, hidden);
    row.drop(dropout, start, hidden);
    row.put(residual + start, hidden);
    row.put(state + start, hidden);
}

// The same as add_norm, with dropout of what is added. `state` may be null.
template <typename T, int QUADS>
__device__ inline void learn_add_norm(
    const T *product, const float *product_bias, const float *weight, const float *bias, float epsilon, int hidden, int tokens,
    Dropout dropout, float *normed, float *factors, float *residual, T *state) {
    const int token = token_of_warp();
    if (token >= tokens) return;
    const size_t start = token * static_cast<size_t>(hidden);
    Row<QUADS> row;
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad) {
        const int from = row.column(quad);
        if (from >= hidden) continue;
        float shift[4];
        load(row.at[quad], product + start + from);
        load(shift, product_bias + from);
#pragma unroll
        for (int i = 0; i < 4; ++i) row.at[quad][i] += shift[i];
    }
    row.drop(dropout, start, hidden);
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad) {
        const int from = row.column(quad);
        if (from >= hidden) continue;
        float before[4];
        load(before, residual + start + from);
#pragma unroll
        for (int i = 0; i < 4; ++i) row.at[quad][i] += before[i];
    }
    const float factor = row.standardise(epsilon, hidden);
    if (threadIdx.x == 0) factors[token] = factor;
    row.put(normed + start, hidden);
    row.stretch(weight, bias, hidden);
    row.put(residual + start, hidden);
    row.put(state ? state + start : nullptr, hidden);
}

// Adds up what the warps of a block have summed for each column, and leaves it in `to`. All threads of the block must call it.
template <int QUADS>
__device__ inline void sum_over_block(const Row<QUADS> &sums, int hidden, float *to) {
    alignas(16) __shared__ float parts[WARPS][QUADS * WARP * 4];
#pragma unroll
    for (int quad = 0; quad < QUADS; ++quad) store(&parts[threadIdx.y][sums.column(quad)], sums.at[quad]);
    __syncthreads();
    for (int column = static_cast<int>(threadIdx.y * WARP + threadIdx.x); column < hidden; column += WARPS * WARP)
        to[column] = (parts[0][column] + parts[1][column]) + (parts[2][column] + parts[3][column]);
    // The next sum uses the same place.
    __syncthreads();
}

// From the gradients of a normalisation's result to those of what was normalised, in place. `before` is the dropout of its result, `after`
// that of what was added to the state before it: gradients behind that go to `delta`, which may be null. Leaves for each block the sums of
// the gradients of weight, of bias, and of `delta`.
template <typename T, int QUADS>
__device__ inline void unnormalise(
    float *gradients, const float *normed, const float *factors, const float *weight, int hidden, int tokens, Dropout before,
    Dropout after, T *delta, float *sums) {
    Row<QUADS> to_weight = {}, to_bias = {}, to_delta = {};
    const int first = static_cast<int>(blockIdx.x) * ROWS_OF_SUM;
    for (int token = first + static_cast<int>(threadIdx.y); token < min(first + ROWS_OF_SUM, tokens); token += WARPS) {
        const size_t start = token * static_cast<size_t>(hidden);
        Row<QUADS> row, middle;
        row.get(gradients + start, hidden);
        middle.get(normed + start, hidden);
        row.drop(before, start, hidden);
        float sum = 0, along = 0;
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad) {
            const int from = row.column(quad);
            if (from >= hidden) continue;
            float scale[4];
            load(scale, weight + from);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                to_weight.at[quad][i] += row.at[quad][i] * middle.at[quad][i];
                to_bias.at[quad][i] += row.at[quad][i];
                row.at[quad][i] *= scale[i];
                sum += row.at[quad][i];
                along += row.at[quad][i] * middle.at[quad][i];
            }
        }
        const float mean = sum_over_warp(sum) / static_cast<float>(hidden);
        along = sum_over_warp(along) / static_cast<float>(hidden);
        const float factor = factors[token];
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad) {
#pragma unroll
            for (int i = 0; i < 4; ++i)
                row.at[quad][i] = factor * (row.at[quad][i] - mean - middle.at[quad][i] * along);
        }
        row.put(gradients + start, hidden);
        if (!delta) continue;
        row.drop(after, start, hidden);
        row.put(delta + start, hidden);
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad) {
#pragma unroll
            for (int i = 0; i < 4; ++i) to_delta.at[quad][i] += row.at[quad][i];
        }
    }
    float *to = sums + blockIdx.x * static_cast<size_t>(3 * hidden);
    sum_over_block(to_weight, hidden, to);
    sum_over_block(to_bias, hidden, to + hidden);
    sum_over_block(to_delta, hidden, to + 2 * hidden);
}

// From the gradients of two projections of each state, `[tokens, 2]`, to those of the states; all `scale` times. Leaves for each block the
// sums of the gradients of the projections' weights and biases.
template <int QUADS>
__device__ inline void unproject(
    const float *states, const float *weight, const float *slopes, float scale, int hidden, int tokens, float *gradients,
    float *sums) {
    Row<QUADS> weights[2], to_weights[2] = {};
    Row<1> to_bias = {};
    weights[0].get(weight, hidden);
    weights[1].get(weight + hidden, hidden);
    const int first = static_cast<int>(blockIdx.x) * ROWS_OF_SUM;
    for (int token = first + static_cast<int>(threadIdx.y); token < min(first + ROWS_OF_SUM, tokens); token += WARPS) {
        const size_t start = token * static_cast<size_t>(hidden);
        const float slope[2] = {slopes[2 * token] * scale, slopes[2 * token + 1] * scale};
        Row<QUADS> state, row;
        state.get(states + start, hidden);
#pragma unroll
        for (int quad = 0; quad < QUADS; ++quad) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                to_weights[0].at[quad][i] += slope[0] * state.at[quad][i];
                to_weights[1].at[quad][i] += slope[1] * state.at[quad][i];
                row.at[quad][i] = slope[0] * weights[0].at[quad][i] + slope[1] * weights[1].at[quad][i];
            }
        }
        row.put(gradients + start, hidden);
        to_bias.at[0][0] += slope[0];
        to_bias.at[0][1] += slope[1];
    }
    float *to = sums + blockIdx.x * static_cast<size_t>(2 * hidden + 2);
    sum_over_block(to_weights[0], hidden, to);
    sum_over_block(to_weights[1], hidden, to + hidden);
    sum_over_block(to_bias, 2, to + 2 * hidden);
}

// Columns and rows of a matrix that a block of 32 x 8 threads adds up.
constexpr int COLUMNS = 4 * WARP;
constexpr int ROWS = 64;
constexpr int GROUPS = 8;

// Leaves for each block of rows the sums of the columns. With GELU the gradients are first taken through it, in place: `inner` is what
// it was applied to, before its bias.
template <typename T, bool GELU>
__device__ inline void sum_columns(T *gradients, const T *inner, const float *bias, int width, int tokens, float *sums) {
    alignas(16) __shared__ float parts[GROUPS][COLUMNS];
    const int thread = static_cast<int>(threadIdx.x), group = static_cast<int>(threadIdx.y);
    const int column = static_cast<int>(blockIdx.x) * COLUMNS + 4 * thread;
    const int first = static_cast<int>(blockIdx.y) * ROWS;
    float total[4] = {};
    if (column < width) {
        float shift[4] = {};
        if constexpr (GELU) load(shift, bias + column);
        for (int token = first + group; token < min(first + ROWS, tokens); token += GROUPS) {
            const size_t place = token * static_cast<size_t>(width) + static_cast<size_t>(column);
            float row[4];
            load(row, gradients + place);
            if constexpr (GELU) {
                float before[4];
                load(before, inner + place);
#pragma unroll
                for (int i = 0; i < 4; ++i) row[i] *= gelu_gradient(before[i] + shift[i]);
                store(gradients + place, row);
            }
#pragma unroll
            for (int i = 0; i < 4; ++i) total[i] += row[i];
        }
    }
    store(&parts[group][4 * thread], total);
    __syncthreads();
    const int own = group * WARP + thread;
    if (own >= COLUMNS || static_cast<int>(blockIdx.x) * COLUMNS + own >= width) return;
    float sum = 0;
#pragma unroll
    for (int i = 0; i < GROUPS; ++i) sum += parts[i][own];
    sums[blockIdx.y * static_cast<size_t>(width) + blockIdx.x * COLUMNS + static_cast<size_t>(own)] = sum;
}

// Rows that a block of the way back through attention looks at in one go.
constexpr int OTHERS = 32;

// The way back through attention on the matrix units. Scores are computed anew from queries and keys, and probabilities from these and `logs`;
// `dots` are the products of each query's result with its gradient, which is what the gradients of its scores have in common.
//
// With KEYS_STAY a block keeps 64 keys with their values, looks at all queries of the window, and finds the gradients of its keys and values;
// otherwise it keeps 64 queries with the gradients of their results, and finds the gradients of these queries. `scale` is what scores are
// multiplied with, `scale_to_2` that and the step from e to 2.
template <typename T, int WIDTH, bool KEYS_STAY>
__device__ inline void attention_back_on_matrix_units(
    const T *qkv, const T *result_gradients, const float *dots, const unsigned *starts, const unsigned *tiles, T *qkv_gradients,
    int heads, float scale, float scale_to_2, Learning learning) {
    constexpr int STRIDE = WIDTH + 8;
    alignas(16) __shared__ T scored[2][OTHERS * STRIDE];
    alignas(16) __shared__ T weighed[2][OTHERS * STRIDE];
    const Tile tile(starts, tiles);
    const size_t hidden = static_cast<size_t>(heads) * WIDTH, wide = 3 * hidden;
    const T *queries = qkv + tile.start * wide + tile.head * WIDTH, *keys = queries + hidden, *values = keys + hidden;
    const T *results = result_gradients + tile.start * hidden + tile.head * WIDTH;
    const int thread = static_cast<int>(threadIdx.x), lane = thread % WARP;
    const int pair = lane % 4 * 2;
    const int rows[2] = {tile.first + thread / WARP * 16 + lane / 4, tile.first + thread / WARP * 16 + lane / 4 + 8};

    const auto fetch = [&](int from, int buffer) {
        constexpr int PIECES = WIDTH / 8;
        for (int piece = thread; piece < OTHERS * PIECES; piece += 4 * WARP) {
            const int other = piece / PIECES, column = piece % PIECES * 8;
            const bool inside = from + other < tile.length;
            const size_t row = static_cast<size_t>(inside ? from + other : 0);
            copy_async(
                &scored[buffer][other * STRIDE + column], (KEYS_STAY ? queries : keys) + row * wide + column, inside);
            copy_async(
                &weighed[buffer][other * STRIDE + column],
                KEYS_STAY ? results + row * hidden + column : values + row * wide + column, inside);
        }
        end_copies();
    };
    fetch(0, 0);

    unsigned own_scored[WIDTH / 16][4], own_weighed[WIDTH / 16][4];
#pragma unroll
    for (int step = 0; step < WIDTH / 16; ++step) {
#pragma unroll
        for (int part = 0; part < 4; ++part) {
            const int row = rows[part % 2], column = step * 16 + part / 2 * 8 + pair;
            const T *first = (KEYS_STAY ? keys : queries) + row * wide + column;
            const T *second = KEYS_STAY ? values + row * wide + column : results + row * hidden + column;
            const bool inside = row < tile.length;
            own_scored[step][part] = inside ? *reinterpret_cast<const unsigned *>(first) : 0;
            own_weighed[step][part] = inside ? *reinterpret_cast<const unsigned *>(second) : 0;
        }
    }

    float to_scored[WIDTH / 8][4] = {}, to_weighed[WIDTH / 8][4] = {};
    const int rounds = (tile.length + OTHERS - 1) / OTHERS;
    for (int round = 0; round < rounds; ++round) {
        const int buffer = round % 2;
        if (round + 1 < rounds) {
            fetch((round + 1) * OTHERS, 1 - buffer);
            await_copies<1>();
        } else {
            await_copies<0>();
        }
        __syncthreads();

        // Scores, and the gradients of probabilities.
        float scores[OTHERS / 8][4] = {}, slopes[OTHERS / 8][4] = {};
#pragma unroll
        for (int step = 0; step < WIDTH / 16; ++step) {
#pragma unroll
            for (int block = 0; block < OTHERS / 16; ++block) {
                const int other = block * 16 + lane / 16 * 8 + lane % 8, column = step * 16 + lane / 8 % 2 * 8;
                unsigned right[4];
                load_matrices(right, &scored[buffer][other * STRIDE + column]);
                multiply<T>(scores[2 * block], own_scored[step], right[0], right[1]);
                multiply<T>(scores[2 * block + 1], own_scored[step], right[2], right[3]);
                load_matrices(right, &weighed[buffer][other * STRIDE + column]);
                multiply<T>(slopes[2 * block], own_weighed[step], right[0], right[1]);
                multiply<T>(slopes[2 * block + 1], own_weighed[step], right[2], right[3]);
            }
        }

        // Probabilities after dropout, and the gradients of scores.
#pragma unroll
        for (int block = 0; block < OTHERS / 8; ++block) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int own = rows[i / 2], other = round * OTHERS + block * 8 + pair + i % 2;
                const int query = KEYS_STAY ? other : own, key = KEYS_STAY ? own : other;
                float &score = scores[block][i], &slope = slopes[block][i];
                if (own >= tile.length || other >= tile.length) {
                    score = slope = 0;
                    continue;
                }
                const size_t place = learning.place(tile, query);
                const float probability = power_of_two(score * scale_to_2 - learning.logs[place]);
                const float factor = learning.dropout.factor(learning.index(tile, query) + static_cast<unsigned>(key));
                slope = probability * (slope * factor - dots[place]);
                score = probability * factor;
            }
        }

#pragma unroll
        for (int step = 0; step < OTHERS / 16; ++step) {
            unsigned left[4], left_weighed[4];
#pragma unroll
            for (int part = 0; part < 4; ++part) {
                const int block = 2 * step + part / 2, from = part % 2 * 2;
                left[part] = pack<T>(slopes[block][from], slopes[block][from + 1]);
                left_weighed[part] = pack<T>(scores[block][from], scores[block][from + 1]);
            }
#pragma unroll
            for (int block = 0; block < WIDTH / 16; ++block) {
                const int place = (step * 16 + lane % 16) * STRIDE + block * 16 + lane / 16 * 8;
                unsigned right[4];
                load_matrices_transposed(right, &scored[buffer][place]);
                multiply<T>(to_scored[2 * block], left, right[0], right[1]);
                multiply<T>(to_scored[2 * block + 1], left, right[2], right[3]);
                if constexpr (KEYS_STAY) {
                    load_matrices_transposed(right, &weighed[buffer][place]);
                    multiply<T>(to_weighed[2 * block], left_weighed, right[0], right[1]);
                    multiply<T>(to_weighed[2 * block + 1], left_weighed, right[2], right[3]);
                }
            }
        }
        // The next round fills this buffer.
        __syncthreads();
    }

#pragma unroll
    for (int half = 0; half < 2; ++half) {
        if (rows[half] >= tile.length) continue;
        T *to = qkv_gradients + (tile.start + rows[half]) * wide + tile.head * WIDTH + pair;
#pragma unroll
        for (int block = 0; block < WIDTH / 8; ++block) {
            const float *found = &to_scored[block][2 * half];
            T *place = to + (KEYS_STAY ? hidden : 0) + block * 8;
            *reinterpret_cast<unsigned *>(place) = pack<T>(found[0] * scale, found[1] * scale);
            if constexpr (KEYS_STAY)
                *reinterpret_cast<unsigned *>(place + hidden) =
                    pack<T>(to_weighed[block][2 * half], to_weighed[block][2 * half + 1]);
        }
    }
}

// Lanes that share a row in f32.
constexpr int SHARERS = 4;

// The same in f32: four lanes share a row.
template <int WIDTH, bool KEYS_STAY>
__device__ inline void attention_back_in_f32(
    const float *qkv, const float *result_gradients, const float *dots, const unsigned *starts, const unsigned *tiles,
    float *qkv_gradients, int heads, float scale, float scale_to_2, Learning learning) {
    constexpr int TOGETHER = 16, PARTS = WIDTH / (4 * SHARERS);
    alignas(16) __shared__ float scored[TOGETHER][WIDTH];
    alignas(16) __shared__ float weighed[TOGETHER][WIDTH];
    const Tile tile(starts, tiles);
    const size_t hidden = static_cast<size_t>(heads) * WIDTH, wide = 3 * hidden;
    const float *queries = qkv + tile.start * wide + tile.head * WIDTH, *keys = queries + hidden, *values = keys + hidden;
    const float *results = result_gradients + tile.start * hidden + tile.head * WIDTH;
    const int thread = static_cast<int>(threadIdx.x);
    const int own = tile.first + thread / SHARERS, column = thread % SHARERS * 4;
    const bool inside = own < tile.length;
    float own_scored[PARTS][4] = {}, own_weighed[PARTS][4] = {}, to_scored[PARTS][4] = {}, to_weighed[PARTS][4] = {};
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
        if (!inside) continue;
        const int from = part * 4 * SHARERS + column;
        load(own_scored[part], (KEYS_STAY ? keys : queries) + own * wide + from);
        load(own_weighed[part], KEYS_STAY ? values + own * wide + from : results + own * hidden + from);
    }
    for (int first = 0; first < tile.length; first += TOGETHER) {
        const int count = min(TOGETHER, tile.length - first);
        for (int place = thread * 4; place < count * WIDTH; place += QUERIES * SHARERS * 4) {
            const size_t row = static_cast<size_t>(first + place / WIDTH), from = static_cast<size_t>(place % WIDTH);
            float part[4];
            load(part, (KEYS_STAY ? queries : keys) + row * wide + from);
            store(&scored[place / WIDTH][from], part);
            load(part, KEYS_STAY ? results + row * hidden + from : values + row * wide + from);
            store(&weighed[place / WIDTH][from], part);
        }
        __syncthreads();
        for (int number = 0; number < count; ++number) {
            float score = 0, slope = 0;
#pragma unroll
            for (int part = 0; part < PARTS; ++part) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int from = part * 4 * SHARERS + column + i;
                    score += own_scored[part][i] * scored[number][from];
                    slope += own_weighed[part][i] * weighed[number][from];
                }
            }
#pragma unroll
            for (int mask = 1; mask < SHARERS; mask *= 2) {
                score += from_lane(score, mask);
                slope += from_lane(slope, mask);
            }
            if (!inside) continue;
            const int query = KEYS_STAY ? first + number : own, key = KEYS_STAY ? own : first + number;
            const size_t place = learning.place(tile, query);
            const float probability = exp2f(score * scale_to_2 - learning.logs[place]);
            const float factor = learning.dropout.factor(learning.index(tile, query) + static_cast<unsigned>(key));
            slope = probability * (slope * factor - dots[place]);
#pragma unroll
            for (int part = 0; part < PARTS; ++part) {
#pragma unroll
                for (int i = 0; i < 4; ++i) {
                    const int from = part * 4 * SHARERS + column + i;
                    to_scored[part][i] += slope * scored[number][from];
                    if constexpr (KEYS_STAY) to_weighed[part][i] += probability * factor * weighed[number][from];
                }
            }
        }
        __syncthreads();
    }
    if (!inside) return;
    float *to = qkv_gradients + (tile.start + own) * wide + (KEYS_STAY ? hidden : 0) + tile.head * WIDTH + column;
#pragma unroll
    for (int part = 0; part < PARTS; ++part) {
#pragma unroll
        for (int i = 0; i < 4; ++i) to_scored[part][i] *= scale;
        store(to + part * 4 * SHARERS, to_scored[part]);
        if constexpr (KEYS_STAY) store(to + hidden + part * 4 * SHARERS, to_weighed[part]);
    }
}

template <typename T, int WIDTH, bool KEYS_STAY>
__device__ inline void attention_back(
    const T *qkv, const T *result_gradients, const float *dots, const unsigned *starts, const unsigned *tiles, T *qkv_gradients,
    int heads, float scale, float scale_to_2, Learning learning) {
    if constexpr (sizeof(T) == 4)
        attention_back_in_f32<WIDTH, KEYS_STAY>(
            qkv, result_gradients, dots, starts, tiles, qkv_gradients, heads, scale, scale_to_2, learning);
    else
        attention_back_on_matrix_units<T, WIDTH, KEYS_STAY>(
            qkv, result_gradients, dots, starts, tiles, qkv_gradients, heads, scale, scale_to_2, learning);
}

// The product of each query's result with its gradient; a thread for each head of each token.
template <typename T>
__device__ inline void attention_dots(
    const T *results, const T *result_gradients, int heads, int width, unsigned tokens, float *dots) {
    const size_t number = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
    const size_t token = number / static_cast<size_t>(heads), head = number % static_cast<size_t>(heads);
    if (token >= tokens) return;
    float sum = 0;
    for (int column = 0; column < width; column += 4) {
        float result[4], gradient[4];
        load(result, results + number * width + column);
        load(gradient, result_gradients + number * width + column);
#pragma unroll
        for (int i = 0; i < 4; ++i) sum += result[i] * gradient[i];
    }
    dots[head * tokens + token] = sum;
}

// The sum of a number that each of 256 threads brings, in one order; only the first thread gets it.
__device__ inline double sum_over_threads(double number) {
    __shared__ double parts[256];
    const unsigned thread = threadIdx.x;
    parts[thread] = number;
    for (unsigned half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) parts[thread] += parts[thread + half];
    }
    return parts[0];
}

// A block's share of the numbers: some neighbours of one tensor that learns.
struct Piece {
    size_t start;
    unsigned count, slot;

    __device__ explicit Piece(const unsigned *pieces)
        : start(pieces[3 * blockIdx.x]), count(pieces[3 * blockIdx.x + 1]), slot(pieces[3 * blockIdx.x + 2]) {}
};

// One step of AdamW, as src/train/learn/adam.rs has it. `rules` say for each tensor what of a number is kept and how far it goes;
// `settled` are the gradients' norm and what shortens them. If the norm is not finite nothing is changed. Gradients are forgotten.
template <typename T>
__device__ inline void adam(
    float *values, float *gradients, float *first, float *second, T *copy, const unsigned *pieces, const float *rules,
    const double *settled, float beta1, float beta2, float spread, float epsilon) {
    const Piece piece(pieces);
    const float keep = rules[2 * piece.slot], step = rules[2 * piece.slot + 1];
    const bool finite = isfinite(settled[0]);
    const float shrink = static_cast<float>(settled[1]);
    for (size_t i = piece.start + threadIdx.x; i < piece.start + piece.count; i += blockDim.x) {
        const float gradient = gradients[i] * shrink;
        gradients[i] = 0;
        if (!finite) continue;
        const float mean = first[i] + (1.0f - beta1) * (gradient - first[i]);
        const float square = beta2 * second[i] + (1.0f - beta2) * gradient * gradient;
        const float value = values[i] * keep - step * mean / (sqrtf(square) * spread + epsilon);
        first[i] = mean;
        second[i] = square;
        values[i] = value;
        if (copy) copy[i] = narrow<T>(value);
    }
}

} // namespace

#define LEARNING_ROW_KERNELS(T, QUADS)                                                                                   \
    extern "C" __global__ void learn_embed_##T##_##QUADS(                                                                \
        const unsigned *ids, const unsigned *positions, const unsigned *segments, const float *words,                    \
        const float *places, const float *segment_rows, const float *weight, const float *bias, float epsilon,           \
        int hidden, int tokens, unsigned seed, unsigned bound, float kept, float *normed, float *factors,                \
        float *residual, T *state) {                                                                                     \
        learn_embed<T, QUADS>(                                                                                           \
            ids, positions, segments, words, places, segment_rows, weight, bias, epsilon, hidden, tokens,                \
            {seed, bound, kept}, normed, factors, residual, state);                                                      \
    }                                                                                                                    \
    extern "C" __global__ void learn_add_norm_##T##_##QUADS(                                                             \
        const T *product, const float *product_bias, const float *weight, const float *bias, float epsilon, int hidden,  \
        int tokens, unsigned seed, unsigned bound, float kept, float *normed, float *factors, float *residual,           \
        T *state) {                                                                                                      \
        learn_add_norm<T, QUADS>(                                                                                        \
            product, product_bias, weight, bias, epsilon, hidden, tokens, {seed, bound, kept}, normed, factors,          \
            residual, state);                                                                                            \
    }                                                                                                                    \
    extern "C" __global__ void __launch_bounds__(4 * WARP) unnormalise_##T##_##QUADS(                                    \
        float *gradients, const float *normed, const float *factors, const float *weight, int hidden, int tokens,        \
        unsigned before_seed, unsigned before_bound, float before_kept, unsigned after_seed, unsigned after_bound,       \
        float after_kept, T *delta, float *sums) {                                                                       \
        unnormalise<T, QUADS>(                                                                                           \
            gradients, normed, factors, weight, hidden, tokens, {before_seed, before_bound, before_kept},                \
            {after_seed, after_bound, after_kept}, delta, sums);                                                         \
    }

#define LEARNING_ATTENTION(T, WIDTH, WHICH, KEYS_STAY)                                                                   \
    extern "C" __global__ void __launch_bounds__(sizeof(T) == 4 ? QUERIES * SHARERS : 4 * WARP)                          \
        attention_back_##WHICH##_##T##_##WIDTH(                                                                          \
            const T *qkv, const T *result_gradients, const float *logs, const float *dots, const unsigned *starts,       \
            const unsigned *tiles, T *qkv_gradients, int heads, float scale, float scale_to_2, unsigned tokens,          \
            unsigned seed, unsigned bound, float kept) {                                                                 \
        attention_back<T, WIDTH, KEYS_STAY>(                                                                             \
            qkv, result_gradients, dots, starts, tiles, qkv_gradients, heads, scale, scale_to_2,                         \
            Learning{{seed, bound, kept}, tokens, const_cast<float *>(logs)});                                           \
    }

#define LEARNING_KERNELS(T)                                                                                              \
    LEARNING_ROW_KERNELS(T, 3)                                                                                           \
    LEARNING_ROW_KERNELS(T, 6)                                                                                           \
    LEARNING_ROW_KERNELS(T, 8)                                                                                           \
    LEARNING_ATTENTION(T, 32, queries, false)                                                                            \
    LEARNING_ATTENTION(T, 32, keys, true)                                                                                \
    LEARNING_ATTENTION(T, 64, queries, false)                                                                            \
    LEARNING_ATTENTION(T, 64, keys, true)                                                                                \
    extern "C" __global__ void attention_dots_##T(                                                                       \
        const T *results, const T *result_gradients, int heads, int width, unsigned tokens, float *dots) {               \
        attention_dots<T>(results, result_gradients, heads, width, tokens, dots);                                        \
    }                                                                                                                    \
    extern "C" __global__ void sum_columns_##T(T *gradients, int width, int tokens, float *sums) {                       \
        sum_columns<T, false>(gradients, nullptr, nullptr, width, tokens, sums);                                         \
    }                                                                                                                    \
    extern "C" __global__ void unactivate_##T(                                                                           \
        T *gradients, const T *inner, const float *bias, int width, int tokens, float *sums) {                           \
        sum_columns<T, true>(gradients, inner, bias, width, tokens, sums);                                               \
    }                                                                                                                    \
    extern "C" __global__ void narrow_##T(const float *numbers, size_t count, T *to) {                                   \
        const size_t number = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;                                \
        if (number < count) to[number] = narrow<T>(numbers[number]);                                                     \
    }                                                                                                                    \
    extern "C" __global__ void adam_##T(                                                                                 \
        float *values, float *gradients, float *first, float *second, T *copy, const unsigned *pieces,                   \
        const float *rules, const double *settled, float beta1, float beta2, float spread, float epsilon) {              \
        adam<T>(values, gradients, first, second, copy, pieces, rules, settled, beta1, beta2, spread, epsilon);          \
    }

LEARNING_KERNELS(float)
LEARNING_KERNELS(f16)
LEARNING_KERNELS(bf16)

#define UNPROJECT(QUADS)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(4 * WARP) unproject_##QUADS(                                            \
        const float *states, const float *weight, const float *slopes, float scale, int hidden, int tokens,              \
        float *gradients, float *sums) {                                                                                 \
        unproject<QUADS>(states, weight, slopes, scale, hidden, tokens, gradients, sums);                                \
    }

UNPROJECT(3)
UNPROJECT(6)
UNPROJECT(8)

// Adds the sums that blocks have left, `[rows, width]`, to `first`, which takes `split` of them, and to `second`, which takes the rest.
// Either may be null. Blocks of 32 x 8 threads.
extern "C" __global__ void add_sums(const float *sums, int rows, int width, float *first, int split, float *second) {
    __shared__ float parts[GROUPS][WARP];
    const int column = static_cast<int>(blockIdx.x * WARP + threadIdx.x);
    float sum = 0;
    if (column < width) {
        for (int row = static_cast<int>(threadIdx.y); row < rows; row += GROUPS)
            sum += sums[row * static_cast<size_t>(width) + static_cast<size_t>(column)];
    }
    parts[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || column >= width) return;
    for (int group = 1; group < GROUPS; ++group) sum += parts[group][threadIdx.x];
    if (column < split) {
        if (first) first[column] += sum;
    } else if (second) {
        second[column - split] += sum;
    }
}

// The sum of some tokens' rows; a warp for each piece, which is a place in `order` and a count.
extern "C" __global__ void sum_rows(
    const float *rows, const unsigned *order, const unsigned *pieces, int hidden, int count, float *sums) {
    const int piece = token_of_warp();
    if (piece >= count) return;
    const unsigned first = pieces[2 * piece], end = first + pieces[2 * piece + 1];
    for (int column = static_cast<int>(threadIdx.x) * 4; column < hidden; column += 4 * WARP) {
        float total[4] = {};
        for (unsigned place = first; place < end; ++place) {
            float row[4];
            load(row, rows + order[place] * static_cast<size_t>(hidden) + column);
#pragma unroll
            for (int i = 0; i < 4; ++i) total[i] += row[i];
        }
        store(sums + piece * static_cast<size_t>(hidden) + column, total);
    }
}

// Adds up the pieces of each row of a table, and adds them to the row. `targets` hold the row, its first piece, and how many it has.
extern "C" __global__ void add_rows(const float *sums, const unsigned *targets, int hidden, int count, float *table) {
    const int target = token_of_warp();
    if (target >= count) return;
    const unsigned row = targets[3 * target], first = targets[3 * target + 1], end = first + targets[3 * target + 2];
    for (int column = static_cast<int>(threadIdx.x) * 4; column < hidden; column += 4 * WARP) {
        float total[4];
        float *to = table + row * static_cast<size_t>(hidden) + column;
        load(total, to);
        for (unsigned piece = first; piece < end; ++piece) {
            float sum[4];
            load(sum, sums + piece * static_cast<size_t>(hidden) + column);
#pragma unroll
            for (int i = 0; i < 4; ++i) total[i] += sum[i];
        }
        store(to, total);
    }
}

// The sum of the squares of each piece's gradients. Blocks of 256 threads.
extern "C" __global__ void sum_squares(const float *gradients, const unsigned *pieces, double *sums) {
    const Piece piece(pieces);
    double sum = 0;
    for (size_t i = piece.start + threadIdx.x; i < piece.start + piece.count; i += blockDim.x)
        sum += static_cast<double>(gradients[i]) * gradients[i];
    sum = sum_over_threads(sum);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// The norm of all gradients, and what makes it at most `clip`. One block of 256 threads.
extern "C" __global__ void settle(const double *sums, int count, double clip, double *settled) {
    double sum = 0;
    for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) sum += sums[i];
    sum = sum_over_threads(sum);
    if (threadIdx.x > 0) return;
    const double norm = sqrt(sum);
    settled[0] = norm;
    settled[1] = clip > 0 && norm + 1e-6 > clip ? clip / (norm + 1e-6) : 1.0;
}

// Says whether a pass left gradients that are not finite.
extern "C" __global__ void find_overflow(const float *gradients, size_t count, unsigned *found) {
    const size_t number = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
    if (number < count && !isfinite(gradients[number])) *found = 1;
}

// Adds the gradients of a pass, `factor` times, to those that are there.
extern "C" __global__ void add_scaled(const float *gradients, size_t count, float factor, float *sums) {
    const size_t number = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x;
    if (number < count) sums[number] += gradients[number] * factor;
}
