"""Random small networks for laws that hold for every network."""

from hypothesis import strategies as st

import cme


@st.composite
def networks(draw, max_species=3, max_reactions=5, max_start=12, hill=True):
    """A `Network` of 1-3 species and 1-5 reactions that grows at most linearly in time.

    Only inflow makes more molecules than it takes, at a bounded propensity: mass action of order zero, or a Hill law. Everything else
    takes at least as many as it makes: decay, conversion, dimerisation, binding, with mass action in either convention.
    """
    names = ["A", "B", "C"][: draw(st.integers(1, max_species))]
    kinds = ["inflow", "decay", "conversion", "pair", "binding"] + (["hill"] if hill else [])
    lines = []
    for r in range(draw(st.integers(1, max_reactions))):
        x, y, z = (draw(st.sampled_from(names)) for _ in range(3))
        rate = draw(st.sampled_from([0.05, 0.2, 0.7, 1.0, 2.5]))
        match draw(st.sampled_from(kinds)):
            case "inflow":
                lines.append(f"n{r}: 0 -> {draw(st.sampled_from(['', '2 ']))}{x} @ {4 * rate}")
            case "decay":
                lines.append(f"n{r}: {x} -> 0 @ {rate}")
            case "conversion":
                lines.append(f"n{r}: {x} -> {y} @ {rate}")
            case "pair":
                lines.append(f"n{r}: 2 {x} -> {draw(st.sampled_from(['0', y]))} @ {rate / 5}")
            case "binding":
                lines.append(f"n{r}: {x} + {y} -> {z} @ {rate / 5}")
            case "hill":
                lines.append(f"n{r}: 0 => {x} @ {6 * rate}/(1 + ({y}/5)^{draw(st.sampled_from([1, 2, 2.5]))})")
    lines += [f"species {name}; {name} = {draw(st.integers(0, max_start))}" for name in names]
    lines.append(f"convention {draw(st.sampled_from(['combinations', 'falling']))}")
    return cme.parse("\n".join(lines))
