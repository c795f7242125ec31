"""Nested dissection: an order of elimination in which a graph is cut in two by few nodes, which come last, and so are the halves."""

from cme.kernels.jit import bare, inner

LEAF = 12  # nodes that are not cut any more


@inner
def _levels(pointer, index, part, own, root, level, queue):
    """Breadth-first search from a root through the nodes of one part; how many are found. `level` of nodes not found is -1."""
    queue[0], level[root] = root, 0
    head, tail = 0, 1
    while head < tail:
        n = queue[head]
        head += 1
        for p in range(pointer[n], pointer[n + 1]):
            m = index[p]
            if part[m] == own and level[m] < 0:
                level[m] = level[n] + 1
                queue[tail] = m
                tail += 1
    return tail


@bare
def dissect(pointer, index, order, part, level, queue, waiting):
    """Order the nodes of a symmetric graph (CSR): order (N,) comes as any permutation, and goes as the order of elimination.

    The cuts are levels of a breadth-first search from the rim, near the middle, and of these the smallest.
    part, level and queue (N,) and waiting (N + 2, 2) are workspace.

    A. George, SIAM J. Numer. Anal. 10, 345 (1973), doi:10.1137/0710032.
    """
    n_nodes = order.shape[0]
    for n in range(n_nodes):
        part[n], level[n] = 0, -1
    waiting[0, 0], waiting[0, 1] = 0, n_nodes
    n_waiting, n_parts = 1, 1
    while n_waiting > 0:
        n_waiting -= 1
        a, b = waiting[n_waiting, 0], waiting[n_waiting, 1]
        size, own = b - a, n_parts
        n_parts += 1
        for i in range(a, b):
            part[order[i]], level[order[i]] = own, -1
        found = _levels(pointer, index, part, own, order[a], level, queue)
        if found < size:  # in pieces that are not linked
            left = found
            for i in range(a, b):
                if level[order[i]] < 0:
                    queue[left] = order[i]
                    left += 1
            for i in range(size):
                order[a + i] = queue[i]
            waiting[n_waiting, 0], waiting[n_waiting, 1] = a, a + found
            waiting[n_waiting + 1, 0], waiting[n_waiting + 1, 1] = a + found, b
            n_waiting += 2
            continue
        rim = queue[size - 1]
        for i in range(a, b):
            level[order[i]] = -1
        _levels(pointer, index, part, own, rim, level, queue)
        height = level[queue[size - 1]]
        if size <= LEAF or height < 2:
            for i in range(size):
                order[a + i] = queue[i]
            continue
        # The levels lie one after the other in the queue.
        cut, fewest, first = -1, size + 1, 0
        while first < size:
            own_level, last = level[queue[first]], first
            while last < size and level[queue[last]] == own_level:
                last += 1
            middle = 0.5 * (first + last)
            if 0 < own_level < height and 0.35 * size <= middle <= 0.65 * size and last - first < fewest:
                cut, fewest = own_level, last - first
            first = last
        if cut < 0:
            cut = level[queue[size // 2]]
            cut = min(max(cut, 1), height - 1)
        low, high, at = a, b, b
        for i in range(size - 1, -1, -1):  # the cut to the end: those of its level with a neighbour in the next
            n = queue[i]
            if level[n] == cut:
                for p in range(pointer[n], pointer[n + 1]):
                    if part[index[p]] == own and level[index[p]] == cut + 1:
                        at -= 1
                        order[at] = n
                        part[n] = -1
                        break
        high = at
        for i in range(size):
            n = queue[i]
            if part[n] == own and level[n] <= cut:
                order[low] = n
                low += 1
        middle_of_order = low
        for i in range(size):
            n = queue[i]
            if part[n] == own and level[n] > cut:
                order[low] = n
                low += 1
        waiting[n_waiting, 0], waiting[n_waiting, 1] = a, middle_of_order
        waiting[n_waiting + 1, 0], waiting[n_waiting + 1, 1] = middle_of_order, high
        n_waiting += 2
    return 0
