"""The networks that are timed, as reaction text with the times at which they are sampled. Standard library only.

`length` is the end of the one long path (about 2e6 events for the small networks), `end` that of an ensemble, which is sampled at 51
times; `paths` is its size. `means` names the solver that gives exact means: `fsp`; or `lna` or `rate_equations` where every reaction is
of first order, so that those are exact, and cheaper. The large networks are `.net` files of Loman et al., PLoS Comput. Biol. (2023),
doi:10.1371/journal.pcbi.1011530, and are timed where a folder that holds them is named.
"""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Timed:
    name: str
    reactions: int
    end: float
    length: float
    paths: int | None = None
    means: str | None = None

    @property
    def text(self) -> str | None:
        """Reaction text, or None for a file NAME.net."""
        return f"model {self.name}\n{TEXTS[self.name]}" if self.name in TEXTS else None

    def times(self) -> list[float]:
        return [self.end * k / 50 for k in range(51)]


TEXTS = {
    "birth_death": """
        0 -> X @ k; X -> 0 @ d
        k = 10; d = 0.1; X = 0""",
    "dimerisation": """
        2 P -> D @ c1; D -> 2 P @ c2
        c1 = 0.00166; c2 = 0.2; P = 301; D = 0""",
    "schlogl": """
        2 X -> 3 X @ k1; 3 X -> 2 X @ k2; 0 -> X @ k3; X -> 0 @ k4
        k1 = 0.03; k2 = 1e-4; k3 = 200; k4 = 3.5; X = 250""",
    "telegraph": """
        Off -> On @ kon; On -> Off @ koff; On -> On + M @ km; M -> 0 @ dm; M -> M + P @ kp; P -> 0 @ dp
        kon = 0.05; koff = 0.05; km = 2; dm = 0.1; kp = 1; dp = 0.02; Off = 1; On = 0; M = 0; P = 0""",
    "toggle": """
        0 => U @ a/(1 + (V/K)^n); 0 => V @ a/(1 + (U/K)^n); U -> 0 @ d; V -> 0 @ d
        a = 50; K = 10; n = 2; d = 1; U = 0; V = 0""",
    "repressilator": """
        0 => m1 @ a0 + a/(1 + (p3/K)^n); m1 -> 0 @ dm; m1 -> m1 + p1 @ b; p1 -> 0 @ dp
        0 => m2 @ a0 + a/(1 + (p1/K)^n); m2 -> 0 @ dm; m2 -> m2 + p2 @ b; p2 -> 0 @ dp
        0 => m3 @ a0 + a/(1 + (p2/K)^n); m3 -> 0 @ dm; m3 -> m3 + p3 @ b; p3 -> 0 @ dp
        a0 = 1; a = 50; K = 40; n = 2; dm = 1; b = 5; dp = 1; m1 = 0; m2 = 0; m3 = 0; p1 = 60; p2 = 0; p3 = 0""",
    # 500 species in a row, molecules hop to either side; the left half starts full
    "chain_500": "\n".join(
        [f"X{i} -> X{i + 1} @ 1; X{i + 1} -> X{i} @ 1" for i in range(1, 500)] + [f"X{i} = {4 if i <= 250 else 0}" for i in range(1, 501)]
    ),
}

NETWORKS = [
    Timed("birth_death", 2, end=100, length=100_000, paths=10_000, means="fsp"),
    Timed("dimerisation", 2, end=50, length=60_000, paths=10_000, means="fsp"),
    Timed("schlogl", 4, end=10, length=400, paths=500, means="fsp"),
    Timed("telegraph", 6, end=100, length=100_000, paths=10_000, means="lna"),
    Timed("toggle", 4, end=20, length=20_000, paths=10_000, means="fsp"),
    Timed("repressilator", 12, end=10, length=4000, paths=2000),
    Timed("chain_500", 998, end=5, length=100, paths=100, means="rate_equations"),
    Timed("egfr_net", 3749, end=100, length=2),
    Timed("BCR", 24388, end=100, length=0.2),
]


def folder_of_networks() -> Path:
    """Where the `.net` files are: what CME_NETWORKS names, or `shared/networks` beside the checkout."""
    return Path(os.environ.get("CME_NETWORKS", Path(__file__).resolve().parents[2].parent / "shared" / "networks"))
