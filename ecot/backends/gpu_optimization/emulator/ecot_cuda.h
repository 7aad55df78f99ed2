// CUDA C++ on a CPU: enough of the language for kernels to run as they are written, one block at a time.
//
// Each thread of a block is a fiber. A fiber runs until it ends or waits at a barrier, so that what a missing barrier
// leaves to chance on a GPU is decided by the order of the fibers here; every case is run in two orders.
#pragma once

#include <cassert>
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

#define __CUDACC__ 1
#define __NVCC__ 1
#define __CUDA_ARCH__ 900

#define __global__ __attribute__((noinline))
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__
#define __shared__ static __attribute__((section("ecot_shared")))

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

#define ECOT_VECTOR(name, type, bytes)                                                                     \
    struct alignas(2 * bytes) name##2 { type x, y; };                                                      \
    struct name##3 { type x, y, z; };                                                                      \
    struct alignas(4 * bytes > 16 ? 16 : 4 * bytes) name##4 { type x, y, z, w; };                          \
    inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                       \
    inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                            \
    inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
ECOT_VECTOR(float, float, 4)
ECOT_VECTOR(double, double, 8)
ECOT_VECTOR(int, int, 4)
ECOT_VECTOR(uint, unsigned, 4)
ECOT_VECTOR(short, short, 2)
ECOT_VECTOR(uchar, unsigned char, 1)
ECOT_VECTOR(char, signed char, 1)
#undef ECOT_VECTOR

namespace ecot {

struct Place {
    dim3 thread, block, block_size, grid_size;
};
Place &here();
void *dynamic_shared();
void block_barrier(int line);
void warp_barrier(unsigned mask, int line);
// Values of a warp's lanes, each up to eight bytes wide.
uint64_t *lane_slots();
int lane_id();
bool lane_alive(int lane);
// Sums a value over the block between two barriers.
int block_sum(int value, int line);
[[noreturn]] void trap();

template <class T> T exchange(unsigned mask, T value, int source, bool valid, int line) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    std::memcpy(&lane_slots()[lane_id()], &value, sizeof(T));
    warp_barrier(mask, line);
    T result = value;
    if (valid) std::memcpy(&result, &lane_slots()[source], sizeof(T));
    warp_barrier(mask, line);
    return result;
}

inline unsigned vote(unsigned mask, bool predicate, int line) {
    lane_slots()[lane_id()] = predicate;
    warp_barrier(mask, line);
    unsigned result = 0;
    for (int lane = 0; lane < 32; ++lane)
        if ((mask >> lane & 1) && lane_alive(lane) && lane_slots()[lane]) result |= 1u << lane;
    warp_barrier(mask, line);
    return result;
}

template <class T> T shuffle_index(unsigned mask, T value, int source, int line, int width = 32) {
    int base = lane_id() / width * width;
    return exchange(mask, value, base + ((source % width) + width) % width, true, line);
}
template <class T> T shuffle_down(unsigned mask, T value, unsigned delta, int line, int width = 32) {
    int lane = lane_id(), source = lane + int(delta);
    return exchange(mask, value, source, source < lane / width * width + width, line);
}
template <class T> T shuffle_up(unsigned mask, T value, unsigned delta, int line, int width = 32) {
    int lane = lane_id(), source = lane - int(delta);
    return exchange(mask, value, source, source >= lane / width * width, line);
}
template <class T> T shuffle_xor(unsigned mask, T value, int bits, int line, int width = 32) {
    int lane = lane_id(), source = lane ^ bits;
    return exchange(mask, value, source, source < lane / width * width + width, line);
}

using Kernel = void (*)(void **arguments);
// The parameters are what the task's specification says, constness and `__restrict__` aside.
// Integers count by size and sign: `long` and `long long` are two types of one size.
template <class T, bool = std::is_integral_v<T> && !std::is_same_v<T, bool>> struct canonical { using type = T; };
template <class T> struct canonical<T, true> {
    using type = std::integral_constant<int, std::is_signed_v<T> ? int(sizeof(T)) : -int(sizeof(T))>;
};
template <class T> struct plain { using type = typename canonical<std::remove_cv_t<T>>::type; };
template <class T> struct plain<T *> { using type = typename canonical<std::remove_cv_t<T>>::type *; };
template <class T> struct plain<T *__restrict> : plain<T *> {};
template <class T> using plain_t = typename plain<std::remove_cv_t<T>>::type;
template <class... Wanted, class... Given> constexpr bool same_signature(void (*)(Given...)) {
    if constexpr (sizeof...(Wanted) != sizeof...(Given)) return false;
    else return (std::is_same_v<plain_t<Wanted>, plain_t<Given>> && ...);
}
template <class... P, std::size_t... I>
void spread(void (*kernel)(P...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<P> *>(arguments[I])...);
}
template <class... P> void invoke(void (*kernel)(P...), void **arguments) {
    spread(kernel, arguments, std::index_sequence_for<P...>{});
}

}  // namespace ecot

#define threadIdx (::ecot::here().thread)
#define blockIdx (::ecot::here().block)
#define blockDim (::ecot::here().block_size)
#define gridDim (::ecot::here().grid_size)
constexpr int warpSize = 32;

#define __syncthreads() ::ecot::block_barrier(__LINE__)
#define __syncthreads_count(p) ::ecot::block_sum((p) != 0, __LINE__)
#define __syncthreads_or(p) (::ecot::block_sum((p) != 0, __LINE__) != 0)
#define __syncthreads_and(p) (::ecot::block_sum((p) == 0, __LINE__) == 0)
#define __syncwarp(...) ::ecot::warp_barrier(0xffffffffu, __LINE__)
#define __shfl_sync(m, v, s, ...) ::ecot::shuffle_index(m, v, s, __LINE__ __VA_OPT__(, ) __VA_ARGS__)
#define __shfl_down_sync(m, v, d, ...) ::ecot::shuffle_down(m, v, d, __LINE__ __VA_OPT__(, ) __VA_ARGS__)
#define __shfl_up_sync(m, v, d, ...) ::ecot::shuffle_up(m, v, d, __LINE__ __VA_OPT__(, ) __VA_ARGS__)
#define __shfl_xor_sync(m, v, b, ...) ::ecot::shuffle_xor(m, v, b, __LINE__ __VA_OPT__(, ) __VA_ARGS__)
#define __ballot_sync(m, p) ::ecot::vote(m, p, __LINE__)
#define __any_sync(m, p) (::ecot::vote(m, p, __LINE__) != 0)
#define __all_sync(m, p) (::ecot::vote(m, !(p), __LINE__) == 0)

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __trap() { ::ecot::trap(); }
inline unsigned __activemask() { return 0xffffffffu; }

template <class T> T __ldg(const T *address) { return *address; }

// Only one fiber runs at a time.
template <class T, class U> T atomicAdd(T *address, U value) {
    T old = *address;
    *address = old + T(value);
    return old;
}
template <class T, class U> T atomicSub(T *address, U value) {
    T old = *address;
    *address = old - T(value);
    return old;
}
template <class T, class U> T atomicMax(T *address, U value) {
    T old = *address;
    if (T(value) > old) *address = T(value);
    return old;
}
template <class T, class U> T atomicMin(T *address, U value) {
    T old = *address;
    if (T(value) < old) *address = T(value);
    return old;
}
template <class T, class U> T atomicExch(T *address, U value) { T old = *address; *address = T(value); return old; }
template <class T, class U> T atomicAnd(T *address, U value) {
    T old = *address;
    *address = old & T(value);
    return old;
}
template <class T, class U> T atomicOr(T *address, U value) {
    T old = *address;
    *address = old | T(value);
    return old;
}
template <class T, class U> T atomicXor(T *address, U value) {
    T old = *address;
    *address = old ^ T(value);
    return old;
}
template <class T, class U, class V> T atomicCAS(T *address, U compare, V value) {
    T old = *address;
    if (old == T(compare)) *address = T(value);
    return old;
}
inline unsigned atomicInc(unsigned *address, unsigned limit) {
    unsigned old = *address;
    *address = old >= limit ? 0 : old + 1;
    return old;
}

template <class A, class B> std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B> std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    return T(a) < T(b) ? T(b) : T(a);
}
inline float __expf(float x) { return std::exp(x); }
inline float __logf(float x) { return std::log(x); }
inline float __powf(float x, float y) { return std::pow(x, y); }
inline float __sinf(float x) { return std::sin(x); }
inline float __cosf(float x) { return std::cos(x); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __fmaf_rn(float x, float y, float z) { return std::fma(x, y, z); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __saturatef(float x) { return x < 0 ? 0.0f : x > 1 ? 1.0f : x == x ? x : 0.0f; }
inline int __float2int_rn(float x) { return int(std::nearbyint(x)); }
inline int __float2int_rz(float x) { return int(x); }
inline int __float2int_rd(float x) { return int(std::floor(x)); }
inline int __float2int_ru(float x) { return int(std::ceil(x)); }
inline float __int2float_rn(int x) { return float(x); }
inline int __float_as_int(float x) { int r; std::memcpy(&r, &x, 4); return r; }
inline unsigned __float_as_uint(float x) { unsigned r; std::memcpy(&r, &x, 4); return r; }
inline float __int_as_float(int x) { float r; std::memcpy(&r, &x, 4); return r; }
inline float __uint_as_float(unsigned x) { float r; std::memcpy(&r, &x, 4); return r; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline unsigned __brev(unsigned x) {
    unsigned r = 0;
    for (int i = 0; i < 32; ++i) r |= (x >> i & 1u) << (31 - i);
    return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline int __mulhi(int a, int b) { return int((int64_t(a) * b) >> 32); }
inline int __mul24(int a, int b) { return a * b; }
