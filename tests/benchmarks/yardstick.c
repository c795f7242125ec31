/* Gillespie's direct method in C, the yardstick of the benchmarks: what a compiler makes of the textbook.

   S species and R reactions are set on the command line, and model.h is written for the network: fire(r, x, a, sum) changes the counts and computes
   the propensities that read them again through SET; r = -1 computes all. Up to 64 reactions the sums are plain; above, blocks of 32
   reactions keep their sums, which are refreshed every 65536 events. Random numbers: xoshiro256++ (Blackman and Vigna 2021), exponential
   ones by a ziggurat of 256 layers (Marsaglia and Tsang 2000). A path is a function of the seed and its number. */
#include <math.h>
#include <stdint.h>

#define BLOCK 32
#define BLOCKS ((R + BLOCK - 1) / BLOCK)
#if R <= 64
#define SET(j, value) a[j] = (value)
#else
#define SET(j, value) do { double now = (value); sum[(j) / BLOCK] += now - a[j]; a[j] = now; } while (0)
#endif
#include "model.h"

static uint64_t s0, s1, s2, s3;
static double edge[257], height[257]; /* of the ziggurat's layers */

static inline uint64_t bits(void) {
    uint64_t sum = s0 + s3, out = ((sum << 23) | (sum >> 41)) + s0, t = s1 << 17;
    s2 ^= s0; s3 ^= s1; s1 ^= s2; s0 ^= s3; s2 ^= t; s3 = (s3 << 45) | (s3 >> 19);
    return out;
}

static inline double uniform(void) { return (bits() >> 11) * 0x1p-53; }

static double exponential(void) {
    for (double shift = 0;;) {
        uint64_t b = bits();
        int i = b & 255;
        double z = (b >> 11) * 0x1p-53 * edge[i];
        if (__builtin_expect(z < edge[i + 1], 1)) return shift + z;
        if (i == 0) shift += edge[1]; /* the tail is exponential again */
        else if (height[i] + uniform() * (height[i + 1] - height[i]) < exp(-z)) return shift + z;
    }
}

static void begin(uint64_t seed, uint64_t path) {
    uint64_t *state[4] = {&s0, &s1, &s2, &s3}, z = seed * 0x9e3779b97f4a7c15 ^ path * 0xd1342543de82ef95;
    for (int i = 0; i < 4; i++) { /* splitmix64 */
        uint64_t y = (z += 0x9e3779b97f4a7c15);
        y = (y ^ (y >> 30)) * 0xbf58476d1ce4e5b9; y = (y ^ (y >> 27)) * 0x94d049bb133111eb; *state[i] = y ^ (y >> 31);
    }
    const double last = 7.69711747013104972, area = 0.0039496598225815571993;
    edge[0] = area / exp(-last); edge[1] = last; edge[256] = 0;
    if (height[256] != 1) for (int i = 2; i < 256; i++) edge[i] = -log(area / edge[i - 1] + exp(-edge[i - 1]));
    if (height[256] != 1) for (int i = 1; i <= 256; i++) height[i] = exp(-edge[i]);
}

/* Counts out[m][k][s] of paths 0, 1, ... at the times; returns the number of events. */
int64_t paths(uint64_t seed, int64_t n_paths, int64_t n_times, const double *times, const double *start, int64_t *out) {
    static double x[S], a[R], sum[BLOCKS];
    int64_t events = 0;
    for (int64_t m = 0; m < n_paths; m++) {
        begin(seed, m);
        for (int i = 0; i < S; i++) x[i] = start[i];
        for (int r = 0; r < R; r++) a[r] = 0;
        for (int b = 0; b < BLOCKS; b++) sum[b] = 0;
        fire(-1, x, a, sum);
        double t = 0;
        for (int64_t k = 0; k < n_times;) {
            double total = 0;
#if R <= 64
            for (int r = 0; r < R; r++) total += a[r];
#else
            if ((events & 65535) == 0)
                for (int b = 0; b < BLOCKS; b++) {
                    sum[b] = 0;
                    for (int r = b * BLOCK; r < R && r < (b + 1) * BLOCK; r++) sum[b] += a[r];
                }
            for (int b = 0; b < BLOCKS; b++) total += sum[b];
#endif
            t = total > 0 ? t + exponential() / total : INFINITY;
            for (; k < n_times && times[k] < t; k++)
                for (int i = 0; i < S; i++) out[(m * n_times + k) * S + i] = (int64_t)x[i];
            if (k == n_times) break;
            double left = uniform() * total;
            int r = 0;
#if R > 64
            int b = 0;
            while (b < BLOCKS - 1 && left >= sum[b]) left -= sum[b++];
            r = b * BLOCK;
#endif
            while (r < R - 1 && left >= a[r]) left -= a[r++];
            fire(r, x, a, sum);
            events++;
        }
    }
    return events;
}
