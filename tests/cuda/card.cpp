// CUDA cards for tests on machines that have none: the driver and cuBLASLt as far as spanqa calls them, computed on the CPU.
//
// Loaded before the real libraries (LD_PRELOAD) it takes their place; the kernels are those of src/encoder/cuda/kernels.cu. Memory
// ends at a page that may not be touched and starts out as numbers that are none, so that whoever reads or writes beside
// it, or reads before writing, is found out. Work is done at the last moment, when somebody waits for it, so that whoever does
// not wait is found out, too. It knows nothing of time.
//
// CARD_COUNT cards (1 unless set), each with CARD_MEMORY bytes, of which others take CARD_TAKEN as soon as somebody has asked how
// much is free; CARD_ORDER=reversed lets threads take turns from the last to the first, CARD_ORDER=warps lets each warp run as
// far as it can before the next.
#include "instructions.h"

#include "../../src/encoder/cuda/kernels.cu"

#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <sys/mman.h>
#include <tuple>
#include <unistd.h>
#include <utility>

namespace {

enum Result { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, NOT_FOUND = 500 };

size_t setting(const char *name, size_t otherwise) {
    const char *value = std::getenv(name);
    return value ? std::strtoull(value, nullptr, 10) : otherwise;
}

std::recursive_mutex everything;
thread_local intptr_t current_card = 0;

struct Allocation {
    void *pages;
    size_t length, asked;
    intptr_t card;
};
std::map<uintptr_t, Allocation> allocations;
std::map<intptr_t, size_t> used;
std::set<intptr_t> others_came;

int allocate(uintptr_t *address, size_t bytes) {
    const std::lock_guard lock(everything);
    if (used[current_card] + bytes > setting("CARD_MEMORY", size_t(8) << 30)) return OUT_OF_MEMORY;
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    // Addresses are multiples of 256, as a card's are.
    const size_t room = (bytes + 255) / 256 * 256;
    const size_t length = (room + page - 1) / page * page + page;
    void *pages = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(static_cast<char *>(pages) + length - page, page, PROT_NONE);
    *address = reinterpret_cast<uintptr_t>(pages) + length - page - room;
    std::memset(reinterpret_cast<void *>(*address), 0xff, room);
    allocations[*address] = {pages, length, bytes, current_card};
    used[current_card] += bytes;
    return SUCCESS;
}

int release(uintptr_t address) {
    const std::lock_guard lock(everything);
    const auto found = allocations.find(address);
    if (found == allocations.end()) return INVALID_VALUE;
    munmap(found->second.pages, found->second.length);
    used[found->second.card] -= found->second.asked;
    allocations.erase(found);
    return SUCCESS;
}

using Work = std::function<int()>;
using Recorded = std::vector<Work>;

// Work in its order. None of it is done before somebody waits.
struct Stream {
    std::deque<Work> waiting;
    size_t started = 0, done = 0;
    int failure = SUCCESS;
    bool records = false, broken = false;
    Recorded recorded;
};
std::set<Stream *> streams;

// A place in a stream.
struct Event {
    Stream *stream = nullptr;
    size_t place = 0;
};

int submit(Stream *stream, Work work) {
    const std::lock_guard lock(everything);
    if (stream->records) {
        stream->recorded.push_back(std::move(work));
    } else {
        stream->waiting.push_back(std::move(work));
        ++stream->started;
    }
    return SUCCESS;
}

int wait(Stream *stream, size_t place) {
    const std::lock_guard lock(everything);
    while (stream->done < place) {
        const Work work = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        ++stream->done;
        if (const int result = work()) stream->failure = result;
    }
    return stream->failure;
}

int wait(Stream *stream) {
    const std::lock_guard lock(everything);
    if (!stream->records) return wait(stream, stream->started);
    stream->broken = true;
    return INVALID_VALUE;
}

// Host memory that copies read and write when their turn comes.
std::map<uintptr_t, size_t> pinned;

bool is_pinned(const void *address) {
    const std::lock_guard lock(everything);
    const auto place = reinterpret_cast<uintptr_t>(address);
    const auto after = pinned.upper_bound(place);
    return after != pinned.begin() && place < std::prev(after)->first + std::prev(after)->second;
}

// A kernel, called with the addresses of its arguments, and how large these are.
struct Kernel {
    std::function<void(void **)> run;
    std::vector<size_t> sizes;
};

template <typename... Arguments>
Kernel kernel(void (*function)(Arguments...)) {
    const auto run = [function](void **arguments) {
        [&]<size_t... I>(std::index_sequence<I...>) {
            function(*static_cast<std::remove_cv_t<Arguments> *>(arguments[I])...);
        }(std::index_sequence_for<Arguments...>());
    };
    return {run, {sizeof(Arguments)...}};
}

constexpr int HALF = 2, BRAIN = 14;

// A factor or the result of a product. It lies by columns, `stride` numbers apart.
struct Matrix {
    int type;
    uintptr_t address;
    size_t rows, columns, stride;

    float number(size_t place) const {
        return type == HALF    ? widen(reinterpret_cast<const f16 *>(address)[place])
               : type == BRAIN ? widen(reinterpret_cast<const bf16 *>(address)[place])
                               : reinterpret_cast<const float *>(address)[place];
    }

    void put(size_t place, float number) const {
        if (type == HALF)
            reinterpret_cast<f16 *>(address)[place] = narrow<f16>(number);
        else if (type == BRAIN)
            reinterpret_cast<bf16 *>(address)[place] = narrow<bf16>(number);
        else
            reinterpret_cast<float *>(address)[place] = number;
    }

    // Its numbers in f32, column by column, or row by row.
    std::vector<float> widened(bool by_rows) const {
        std::vector<float> wide(rows * columns);
        for (size_t column = 0; column < columns; ++column)
            for (size_t row = 0; row < rows; ++row)
                wide[by_rows ? row * columns + column : column * rows + row] = number(column * stride + row);
        return wide;
    }
};

// result = left * right, either of which may be transposed, and the bias of the row; with `onto` it is added to what is there.
void product(
    const Matrix &left, bool transposed_left, const Matrix &right, bool transposed_right, uintptr_t bias_address, bool onto,
    const Matrix &result) {
    const size_t rows = result.rows, columns = result.columns, inner = transposed_left ? left.rows : left.columns;
    const auto a = left.widened(!transposed_left), b = right.widened(transposed_right);
    const auto bias = bias_address ? Matrix{result.type, bias_address, rows, 1, rows}.widened(false) : std::vector<float>(rows);
    constexpr size_t TOGETHER = 16, COLUMNS_AT_ONCE = 16;
    const auto one = [&](size_t row, size_t column) {
        const float *x = &a[row * inner], *y = &b[column * inner];
        float sums[TOGETHER] = {}, sum = bias[row];
        size_t k = 0;
        for (; k + TOGETHER <= inner; k += TOGETHER)
            for (size_t i = 0; i < TOGETHER; ++i) sums[i] += x[k + i] * y[k + i];
        for (; k < inner; ++k) sum += x[k] * y[k];
        for (float part : sums) sum += part;
        const size_t place = column * result.stride + row;
        result.put(place, onto ? sum + result.number(place) : sum);
    };
    // A row serves several columns while it is near.
    for (size_t first = 0; first < columns; first += COLUMNS_AT_ONCE)
        for (size_t row = 0; row < rows; ++row)
            for (size_t column = first; column < std::min(first + COLUMNS_AT_ONCE, columns); ++column) one(row, column);
}

#define NAMED(name) {#name, kernel(name)}
#define SIZED(T, size)                                                                                                   \
    NAMED(embed_##T##_##size), NAMED(add_norm_##T##_##size), NAMED(learn_embed_##T##_##size),                            \
        NAMED(learn_add_norm_##T##_##size), NAMED(unnormalise_##T##_##size)
#define HEADS(T, width)                                                                                                  \
    NAMED(attention_##T##_##width), NAMED(learn_attention_##T##_##width), NAMED(attention_back_queries_##T##_##width),   \
        NAMED(attention_back_keys_##T##_##width)
#define TYPED(T)                                                                                                         \
    SIZED(T, 3), SIZED(T, 6), SIZED(T, 8), HEADS(T, 32), HEADS(T, 64), NAMED(bias_gelu_##T), NAMED(attention_dots_##T),  \
        NAMED(sum_columns_##T), NAMED(unactivate_##T), NAMED(narrow_##T), NAMED(adam_##T)

std::map<std::string, Kernel> kernels = {
    TYPED(float), TYPED(f16), TYPED(bf16), NAMED(project), NAMED(unproject_3), NAMED(unproject_6), NAMED(unproject_8),
    NAMED(add_sums), NAMED(sum_rows), NAMED(add_rows), NAMED(sum_squares), NAMED(settle), NAMED(find_overflow),
    NAMED(add_scaled)};

} // namespace

extern "C" {

int cuInit(unsigned) { return setting("CARD_COUNT", 1) ? SUCCESS : NO_DEVICE; }

int cuDeviceGetCount(int *count) {
    *count = static_cast<int>(setting("CARD_COUNT", 1));
    return SUCCESS;
}

int cuDeviceGet(int *card, int number) {
    *card = number;
    return number < static_cast<int>(setting("CARD_COUNT", 1)) ? SUCCESS : INVALID_DEVICE;
}

int cuDeviceGetName(char *name, int length, int) {
    std::strncpy(name, "emulated card", static_cast<size_t>(length));
    return SUCCESS;
}

int cuDeviceGetAttribute(int *value, int attribute, int) {
    constexpr int MAJOR = 75, MINOR = 76, MEMORY_POOLS = 115;
    *value = attribute == MAJOR ? 8 : attribute == MINOR ? 0 : attribute == MEMORY_POOLS ? 1 : 0;
    return SUCCESS;
}

int cuDevicePrimaryCtxRetain(intptr_t *context, int card) {
    *context = card + 1;
    return SUCCESS;
}

int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }

int cuCtxSetCurrent(intptr_t context) {
    current_card = context;
    return SUCCESS;
}

int cuCtxGetCurrent(intptr_t *context) {
    *context = current_card;
    return SUCCESS;
}

int cuCtxSynchronize() {
    const std::lock_guard lock(everything);
    int failure = SUCCESS;
    // A stream that records has nothing to wait for.
    for (Stream *stream : streams)
        if (const int result = wait(stream, stream->started)) failure = result;
    return failure;
}

int cuMemGetInfo_v2(size_t *free, size_t *total) {
    const std::lock_guard lock(everything);
    *total = setting("CARD_MEMORY", size_t(8) << 30);
    *free = *total - used[current_card];
    if (others_came.insert(current_card).second) used[current_card] += setting("CARD_TAKEN", 0);
    return SUCCESS;
}

int cuMemAllocAsync(uintptr_t *address, size_t bytes, Stream *stream) {
    const int result = allocate(address, bytes);
    if (result != OUT_OF_MEMORY) return result;
    // What is yet to be given back may be enough.
    wait(stream);
    return allocate(address, bytes);
}

int cuMemFreeAsync(uintptr_t address, Stream *stream) {
    return submit(stream, [=] { return release(address); });
}

int cuMemAlloc_v2(uintptr_t *address, size_t bytes) { return allocate(address, bytes); }
int cuMemFree_v2(uintptr_t address) { return release(address); }

int cuMemHostAlloc(void **address, size_t bytes, unsigned) {
    const std::lock_guard lock(everything);
    *address = std::malloc(bytes);
    std::memset(*address, 0xff, bytes);
    pinned[reinterpret_cast<uintptr_t>(*address)] = bytes;
    return SUCCESS;
}

int cuMemFreeHost(void *address) {
    const std::lock_guard lock(everything);
    pinned.erase(reinterpret_cast<uintptr_t>(address));
    std::free(address);
    return SUCCESS;
}

// From other memory than pinned a copy takes what is there when it is started.
int cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t bytes, Stream *stream) {
    if (is_pinned(from))
        return submit(stream, [=] {
            std::memcpy(reinterpret_cast<void *>(to), from, bytes);
            return SUCCESS;
        });
    const auto *first = static_cast<const char *>(from);
    return submit(stream, [to, staged = std::vector<char>(first, first + bytes)] {
        std::memcpy(reinterpret_cast<void *>(to), staged.data(), staged.size());
        return SUCCESS;
    });
}

// To other memory than pinned a copy is over when the call is.
int cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t bytes, Stream *stream) {
    const int result = submit(stream, [=] {
        std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
        return SUCCESS;
    });
    return is_pinned(to) ? result : wait(stream);
}

int cuStreamCreate(Stream **stream, unsigned) {
    const std::lock_guard lock(everything);
    streams.insert(*stream = new Stream);
    return SUCCESS;
}

int cuStreamDestroy_v2(Stream *stream) {
    const std::lock_guard lock(everything);
    const int result = wait(stream);
    streams.erase(stream);
    delete stream;
    return result;
}

int cuMemsetD8Async(uintptr_t to, unsigned char number, size_t bytes, Stream *stream) {
    return submit(stream, [=] {
        std::memset(reinterpret_cast<void *>(to), number, bytes);
        return SUCCESS;
    });
}

int cuStreamSynchronize(Stream *stream) { return wait(stream); }

int cuEventCreate(Event **event, unsigned) {
    *event = new Event;
    return SUCCESS;
}

int cuEventDestroy_v2(Event *event) {
    delete event;
    return SUCCESS;
}

int cuEventRecord(Event *event, Stream *stream) {
    const std::lock_guard lock(everything);
    *event = {stream, stream->started};
    return SUCCESS;
}

int cuEventSynchronize(Event *event) {
    const std::lock_guard lock(everything);
    return event->stream ? wait(event->stream, event->place) : SUCCESS;
}

int cuStreamWaitEvent(Stream *, Event *event, unsigned) { return cuEventSynchronize(event); }

int cuModuleLoadData(void **module, const void *) {
    *module = std::malloc(1);
    return SUCCESS;
}

int cuModuleUnload(void *module) {
    std::free(module);
    return SUCCESS;
}

int cuModuleGetFunction(const Kernel **function, void *, const char *name) {
    const auto found = kernels.find(name);
    if (found == kernels.end()) return NOT_FOUND;
    *function = &found->second;
    return SUCCESS;
}

int cuLaunchKernel(
    const Kernel *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
    unsigned block_z, unsigned, Stream *stream, void **arguments, void **) {
    if (!grid_x || !grid_y || !grid_z || block_x * block_y * block_z > 1024) return INVALID_VALUE;
    // Arguments are copied when a kernel is started, not when it runs. None takes more than 8 bytes.
    std::vector<uint64_t> copies(function->sizes.size());
    for (size_t i = 0; i < copies.size(); ++i) std::memcpy(&copies[i], arguments[i], function->sizes[i]);
    return submit(stream, [=] {
        std::vector<void *> addresses;
        auto own = copies;
        for (uint64_t &copy : own) addresses.push_back(&copy);
        card::run({grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, [&] { function->run(addresses.data()); });
        return SUCCESS;
    });
}

int cuStreamBeginCapture_v2(Stream *stream, int) {
    {
        const std::lock_guard lock(everything);
        stream->records = true;
    }
    // Time for other threads to put in what does not belong there.
    usleep(2000);
    return SUCCESS;
}

int cuStreamEndCapture(Stream *stream, Recorded **graph) {
    const std::lock_guard lock(everything);
    stream->records = false;
    if (std::exchange(stream->broken, false)) return INVALID_VALUE;
    *graph = new Recorded(std::move(stream->recorded));
    stream->recorded.clear();
    return SUCCESS;
}

int cuGraphInstantiateWithFlags(Recorded **executable, const Recorded *graph, unsigned long long) {
    *executable = new Recorded(*graph);
    return SUCCESS;
}

int cuGraphLaunch(const Recorded *executable, Stream *stream) {
    return submit(stream, [recorded = *executable] {
        for (const auto &work : recorded)
            if (const int result = work()) return result;
        return static_cast<int>(SUCCESS);
    });
}

int cuGraphDestroy(Recorded *graph) {
    delete graph;
    return SUCCESS;
}

int cuGraphExecDestroy(Recorded *executable) {
    delete executable;
    return SUCCESS;
}

// ---- cuBLASLt: products of factors that may be transposed, with or without a bias, in place of what is there or added to it

struct Layout {
    int type;
    uint64_t rows, columns;
    int64_t stride;
};

struct Description {
    int32_t compute, transposed_left = 0, transposed_right = 0, epilogue = 1;
    uintptr_t bias = 0;
};

int cublasLtCreate(void **handle) {
    *handle = std::malloc(1);
    return SUCCESS;
}

int cublasLtDestroy(void *handle) {
    std::free(handle);
    return SUCCESS;
}

int cublasLtMatrixLayoutCreate(Layout **layout, int type, uint64_t rows, uint64_t columns, int64_t stride) {
    *layout = new Layout{type, rows, columns, stride};
    return SUCCESS;
}

int cublasLtMatrixLayoutDestroy(Layout *layout) {
    delete layout;
    return SUCCESS;
}

int cublasLtMatmulDescCreate(Description **description, int compute, int) {
    *description = new Description{compute};
    return SUCCESS;
}

int cublasLtMatmulDescDestroy(Description *description) {
    delete description;
    return SUCCESS;
}

int cublasLtMatmulDescSetAttribute(Description *description, int attribute, const void *value, size_t size) {
    constexpr int TRANSPOSED_LEFT = 3, TRANSPOSED_RIGHT = 4, EPILOGUE = 7, BIAS = 8;
    void *place = attribute == TRANSPOSED_LEFT    ? static_cast<void *>(&description->transposed_left)
                  : attribute == TRANSPOSED_RIGHT ? static_cast<void *>(&description->transposed_right)
                  : attribute == EPILOGUE         ? static_cast<void *>(&description->epilogue)
                  : attribute == BIAS             ? static_cast<void *>(&description->bias)
                                                  : nullptr;
    if (!place || size != (attribute == BIAS ? 8 : 4)) return INVALID_VALUE;
    std::memcpy(place, value, size);
    return SUCCESS;
}

int cublasLtMatmulPreferenceCreate(void **preference) {
    *preference = std::malloc(1);
    return SUCCESS;
}

int cublasLtMatmulPreferenceDestroy(void *preference) {
    std::free(preference);
    return SUCCESS;
}

int cublasLtMatmulPreferenceSetAttribute(void *, int, const void *, size_t) { return SUCCESS; }

struct Heuristic {
    uint64_t algorithm[8];
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
};

int cublasLtMatmulAlgoGetHeuristic(
    void *, Description *, Layout *, Layout *, Layout *, Layout *, void *, int, Heuristic *found, int *count) {
    *found = Heuristic{};
    *count = 1;
    return SUCCESS;
}

int cublasLtMatmul(
    void *, Description *description, const float *alpha, const void *left, Layout *left_layout, const void *right,
    Layout *right_layout, const float *beta, const void *addend, Layout *, void *result, Layout *layout, const void *, void *,
    size_t, Stream *stream) {
    constexpr int TRANSPOSED = 1, WITH_BIAS = 4, FULL = 0;
    const auto matrix = [](const void *address, const Layout *layout) {
        return Matrix{
            layout->type, reinterpret_cast<uintptr_t>(address), layout->rows, layout->columns,
            static_cast<size_t>(layout->stride)};
    };
    const Matrix a = matrix(left, left_layout), b = matrix(right, right_layout), to = matrix(result, layout);
    const bool a_turned = description->transposed_left == TRANSPOSED, b_turned = description->transposed_right == TRANSPOSED;
    const size_t rows = a_turned ? a.columns : a.rows, inner = a_turned ? a.rows : a.columns;
    const size_t other = b_turned ? b.columns : b.rows, columns = b_turned ? b.rows : b.columns;
    // What the library wants of half types on matrix units: addresses and rows of whole 16 bytes. Results are of the factors' type or f32.
    for (const Matrix &one : {a, b, to})
        if (one.address % 16 || one.stride * (one.type == FULL ? 4 : 2) % 16) return INVALID_VALUE;
    if (rows != to.rows || columns != to.columns || inner != other || a.type != b.type ||
        (to.type != a.type && to.type != FULL) || *alpha != 1 || (*beta != 0 && *beta != 1) || addend != result)
        return INVALID_VALUE;
    const uintptr_t bias_address = description->epilogue == WITH_BIAS ? description->bias : 0;
    return submit(stream, [=, onto = *beta == 1] {
        product(a, a_turned, b, b_turned, bias_address, onto, to);
        return SUCCESS;
    });
}
}
