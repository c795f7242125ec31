"""Independent twins of the kernels: textbook algorithms on Python's own integers and floats. Slow, short, obviously right.

They share nothing with the library: no numpy in the loops, no compiled arrays. A network is given as ``(propensity, change)`` pairs,
a function of the counts and a tuple of what it adds to them (or a function of the counts and the stream that makes one).
"""

import itertools
import math

MASK = 2**64 - 1


def philox4x64(key, counter):
    """Ten rounds of Philox4x64 (Salmon et al. 2011, figure 2) on Python integers."""
    (k0, k1), (c0, c1, c2, c3) = key, counter
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (right >> 64) ^ c1 ^ k0, right & MASK, (left >> 64) ^ c3 ^ k1, left & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [c0, c1, c2, c3]


class Stream:
    """xoshiro256++ (Blackman and Vigna 2021) seeded with the Philox block of (key, path)."""

    def __init__(self, key, path, stream=0):
        self.s = philox4x64([int(word) for word in key], (path, stream, 0, 0))

    def word(self):
        def rotate(value, bits):
            return ((value << bits) | (value >> (64 - bits))) & MASK

        s = self.s
        result = (rotate((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
        shifted = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= shifted
        s[3] = rotate(s[3], 45)
        return result

    def uniform(self):
        return ((self.word() >> 12) + 0.5) / 2**52

    def exponential(self):
        return minus_log(self.uniform())

    def normals(self, n):
        out = []
        while len(out) < n:
            u, v = 2 * self.uniform() - 1, 2 * self.uniform() - 1
            square = u * u + v * v
            if square < 1:
                scale = math.sqrt(-2 * math.log(square) / square)
                out += [u * scale, v * scale]
        return out


def minus_log(u):
    """-log(u) after fdlibm's e_log.c, with the sum over odd and even powers in its order of operations."""
    mantissa, k = math.frexp(u)  # u = mantissa 2^k with the mantissa from 1/2
    if mantissa < math.ldexp(0x16A09E, -21):  # sqrt(1/2), its upper 32 bits
        mantissa, k = 2 * mantissa, k - 1
    f = mantissa - 1
    s = f / (2 + f)
    z = s * s
    w = z * z
    l1, l2, l3, l4 = 6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01, 2.222219843214978396e-01
    l5, l6, l7 = 1.818357216161805012e-01, 1.531383769920937332e-01, 1.479819860511658591e-01
    series = z * (l1 + w * (l3 + w * (l5 + w * l7))) + w * (l2 + w * (l4 + w * l6))
    half = 0.5 * f * f
    return (half - (s * (half + series) + k * 1.90821492927058770002e-10)) - f - k * 6.93147180369123816490e-01


def direct(reactions, start, times, stream):
    """Gillespie's direct method (1977): the counts at the times, and the events (time, reaction) up to the last of them."""
    x, t, samples, events = list(start), 0.0, [], []
    while True:
        sums = list(itertools.accumulate(propensity(*x) for propensity, _ in reactions))
        total = sums[-1]
        following = t + stream.exponential() / total if total > 0 else math.inf
        while times[len(samples)] < following:
            samples.append(list(x))
            if len(samples) == len(times):
                return samples, events
        t = following
        u = stream.uniform() * total
        r = sum(share <= u for share in sums)
        change = reactions[r][1]
        steps = change(x, stream) if callable(change) else change
        x = [count + step for count, step in zip(x, steps, strict=True)]
        events.append((t, r))


def rejection(reactions, start, times, stream):
    """Rejection with bounds (Thanh et al. 2014) and groups by powers of two (Slepoy et al. 2008): samples and events as of `direct`.

    One of up to two molecules is ``(constant, places of its reactants, change)``; any other ``(propensity, places it reads, change)``.
    """
    x, t, samples, events = list(start), 0.0, [], []
    low, high = [n - n // 10 for n in x], [n + n // 10 for n in x]
    groups, home = {}, [None] * len(reactions)

    def propensity(r, counts):
        law, places, _ = reactions[r]
        if callable(law):
            return law(*x)
        first, second = [float(counts[s]) for s in places] + [1.0] * (2 - len(places))
        return law * (first * (second - (len(places) == 2 and places[0] == places[1])))

    def settle(r):
        fraction, power = math.frexp(propensity(r, high))
        group = None if fraction == 0 else power - (fraction == 0.5)
        if group == home[r]:
            return
        if home[r] is not None:
            members = groups[home[r]]
            members[members.index(r)] = members[-1]
            members.pop()
        if group is not None:
            groups.setdefault(group, []).append(r)
        home[r] = group

    def weight_below(g):
        weight = 0.0
        for power in sorted(groups):
            if power < g:
                weight += len(groups[power]) * 2.0**power
        return weight

    def trial():
        u = stream.uniform() * total
        g = max(power for power in groups if groups[power] and weight_below(power) <= u)
        if 2.0**g < 1e-6 * total:
            u = stream.uniform() * len(groups[g])
        else:
            u = (u - weight_below(g)) / 2.0**g
        i = int(u)
        r = groups[g][i]
        return r if (u - i) * 2.0**g < propensity(r, x) else None

    for r in range(len(reactions)):
        settle(r)
    while True:
        total, following, r = weight_below(math.inf), math.inf, None
        if total > 0:
            chance = 1.0
            while r is None:
                chance *= stream.uniform()
                r = trial()
            following = t + minus_log(chance) / total
        while times[len(samples)] < following:
            samples.append(list(x))
            if len(samples) == len(times):
                return samples, events
        t = following
        changed = [s for s, step in enumerate(reactions[r][2]) if step]
        x = [count + step for count, step in zip(x, reactions[r][2], strict=True)]
        events.append((t, r))
        left = [s for s in changed if not low[s] <= x[s] <= high[s]]
        for s in left:
            low[s], high[s] = x[s] - x[s] // 10, x[s] + x[s] // 10
        for s in left:
            for r, (law, places, _) in enumerate(reactions):
                if s in places and not callable(law):
                    settle(r)
        for s in changed:
            for r, (law, places, _) in enumerate(reactions):
                if s in places and callable(law):
                    settle(r)


def next_reaction(reactions, start, times, stream):
    """The next reaction method (Gibson and Bruck 2000) with what is left in internal time (Anderson 2007), without a heap."""
    x, t, samples, events = list(start), 0.0, [], []
    a = [propensity(*x) for propensity, _ in reactions]
    left, since = [stream.exponential() for _ in reactions], [0.0 for _ in reactions]
    while True:
        due = [since[r] + left[r] / a[r] if a[r] > 0 else math.inf for r in range(len(a))]
        r = due.index(min(due))
        while times[len(samples)] < due[r]:
            samples.append(list(x))
            if len(samples) == len(times):
                return samples, events
        t = due[r]
        x = [count + step for count, step in zip(x, reactions[r][1], strict=True)]
        events.append((t, r))
        left[r], since[r] = stream.exponential(), t
        for j, (propensity, _) in enumerate(reactions):
            value = propensity(*x)
            if value != a[j]:
                left[j] = max(left[j] - a[j] * (t - since[j]), 0.0)
                a[j], since[j] = value, t


def euler_maruyama(reactions, start, end, pairs, stream):
    """The chemical Langevin equation of one species, mirrored at zero: 2 * pairs steps to the end."""
    x, h = float(start), 0.5 * end / pairs
    for _ in range(pairs):
        normals = stream.normals(2 * len(reactions))
        for half in (normals[: len(reactions)], normals[len(reactions) :]):
            extents = [max(a(x), 0.0) * h + math.sqrt(max(a(x), 0.0)) * math.sqrt(h) * z for (a, _), z in zip(reactions, half, strict=True)]
            for (_, (change,)), extent in zip(reactions, extents, strict=True):
                x += change * extent
            x = abs(x)
    return x


def euler_maruyama_natural(reactions, start, end, pairs, stream):
    """The same with a single noise and no wall."""
    x, h = float(start), 0.5 * end / pairs
    for _ in range(pairs):
        for z in stream.normals(2):
            drift, variance = 0.0, 0.0
            for a, (change,) in reactions:
                drift += change * a(x)
                variance += change * change * a(x)
            x += drift * h + math.sqrt(max(variance, 0.0)) * math.sqrt(h) * z
    return x


def biased_walk(right, steps, stream):
    """A walk on whole numbers with probability right(site, step) of going right: the sites after 0, 1, ... steps."""
    sites = [0]
    for step in range(steps):
        sites.append(sites[-1] + (1 if stream.uniform() < right(sites[-1], step) else -1))
    return sites


def weighted_walk(gain, steps, stream):
    """A free walk, and the sum of gain(site, step) at both ends of its steps."""
    site, total = 0, 0.0
    for step in range(steps):
        here = gain(site, step)
        site += 1 if stream.uniform() < 0.5 else -1
        total += here + gain(site, step + 1)
    return site, total


def branching_walk(gain, steps, size, stream):
    """Free walkers with branching and killing, kept at their number by a comb: sites, ancestors, log of the factor taken out."""
    walkers, scale = [(0, i) for i in range(size)], 0.0
    for step in range(steps):
        moved, total, sums = [], 0.0, []
        for site, ancestor in walkers:
            here = gain(site, step)
            site += 1 if stream.uniform() < 0.5 else -1
            total += math.exp(here + gain(site, step + 1))
            moved.append((site, ancestor))
            sums.append(total)
        scale += math.log(total / size)
        tooth = stream.uniform()
        walkers = []
        for copy in range(size):
            mark = (copy + tooth) * (total / size)
            walkers.append(moved[next((i for i, s in enumerate(sums) if s > mark), size - 1)])
    return [site for site, _ in walkers], [ancestor for _, ancestor in walkers], scale


def poisson(stream, mean):
    """Inversion below a mean of 10, Hoermann's PTRS (1993) above, with Stirling's series around the mean."""
    if mean < 10:
        u, k, p = stream.uniform(), 0.0, math.exp(-mean)
        total = p
        while u > total:
            k += 1
            p *= mean / k
            if total + p == total:
                break
            total += p
        return k
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    while True:
        u, v = stream.uniform() - 0.5, stream.uniform()
        side = 0.5 - abs(u)
        k = float(math.floor((2 * a / side + b) * u + mean + 0.43))
        if side >= 0.07 and v <= 0.9277 - 3.6224 / (b - 2):
            return k
        if k < 0 or (side < 0.013 and v > side):
            continue
        if k == 0:
            log_p = -mean
        else:
            stirling = math.lgamma(k + 1) - (k + 0.5) * math.log(k) + k - 0.9189385332046727
            if k >= 16:
                stirling = (1 / 12 - (1 / 360 - 1 / 1260 * (1 / (k * k))) * (1 / (k * k))) / k
            log_p = (k - mean) - k * math.log1p((k - mean) / mean) - 0.5 * math.log(k) - 0.9189385332046727 - stirling
        if math.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / (side * side) + b)) <= log_p:
            return k


def central(law, x):
    """The derivative of a law of one count, from one molecule more and one less."""
    here = law(x)
    if x < 1:
        return (law(x + 1) - here) / 1
    return ((law(x + 1) - here) - (law(x - 1) - here)) / 2


def tau_leap(reactions, start, end, epsilon, stream):
    """Explicit tau-leaping of one species that every propensity depends on, or none: the count at the end.

    Reactions are (propensity, (change,), derivative or None); leaps after Cao, Gillespie and Petzold (2006), and at most
    2 epsilon / abs(d drift / dx). Returns the count, leaps, exact steps and rejected leaps.
    """
    x, t, longest, made = float(start), 0.0, math.inf, [0, 0, 0]
    while t < end:
        a = [propensity(x) for propensity, _, _ in reactions]
        total = 0.0
        for value in a:
            total += value
        if total == 0:
            break
        critical = [x + 10 * change < 0 for _, (change,), _ in reactions]
        slopes = [0.0 if slope is None else slope(x) for _, _, slope in reactions]
        order, mean, spread, jacobian, hurried = 1.0, 0.0, 0.0, 0.0, 0.0
        for value, (_, (change,), _), slope, last in zip(a, reactions, slopes, critical, strict=True):
            if abs(slope) * x > value > 0:
                order = max(order, abs(slope) * x / value)
            if last:
                hurried += value
            else:
                mean += change * value
                spread += change * (change * value)
                jacobian += change * slope
        inverse = 1 / max(epsilon * x / order, 1.0)
        haste = max(abs(mean) * inverse, spread * inverse * inverse)
        haste = max(haste, abs(jacobian) * max(x, 1.0) / (2 * epsilon * max(x, 1.0)))
        tau, room = min(1 / haste if haste > 0 else math.inf, longest), end - t
        if total * min(tau, room, 1 / hurried if hurried > 0 else math.inf) < 10:
            longest = math.inf
            for _ in range(100):
                t = t + stream.exponential() / total if total > 0 else math.inf
                if t > end:
                    return x, made
                u, r = stream.uniform() * total, 0
                while u >= a[r]:
                    u -= a[r]
                    r += 1
                x += reactions[r][1][0]
                made[1] += 1
                a, total = [propensity(x) for propensity, _, _ in reactions], 0.0
                for value in a:
                    total += value
            continue
        reaches, chosen = tau >= room, None
        tau = room if reaches else 0.5 * room if 2 * tau > room else tau
        if hurried > 0:
            wait = stream.exponential() / hurried
            if wait < tau:
                tau, reaches, u = wait, False, stream.uniform() * hurried
                for r, last in enumerate(critical):
                    if last and chosen is None:
                        if u < a[r]:
                            chosen = r
                        u -= a[r]
        y, fired = x, []
        for r, value in enumerate(a):
            fired.append(poisson(stream, value * tau) if value > 0 and not critical[r] else 0.0)
        if chosen is not None:
            fired[chosen] = 1.0
        for k, (_, (change,), _) in zip(fired, reactions, strict=True):
            y += change * k
        if y < 0:
            longest = 0.5 * tau
            made[2] += 1
            continue
        x, t, longest = y, end if reaches else t + tau, math.inf
        made[0] += 1
    return x, made
