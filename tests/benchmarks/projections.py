"""The problems on which finite state projection is timed, as reaction text. Most are those of published benchmarks.

Pap operon: Munsky and Khammash (2006). Goutsias (2005), and Burrage et al. (2006). The large toggle switch and the phage: the papers on
tensor trains. The others are the models of SSIT's own benchmarks, and networks with a closed form.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

MODELS = {
    "toggle": "0 => U @ 2 + 60*400/(400+V^2); U -> 0 @ 1; 0 => V @ 2 + 50*400/(400+U^2); V -> 0 @ 1; U = 0; V = 0",
    "schlogl": "2 X -> 3 X @ 0.03; 3 X -> 2 X @ 1e-4; 0 -> X @ 200; X -> 0 @ 3.5; X = 250",
    "monomolecular": "0 -> S1 @ 6; S1 -> S2 @ 1; S2 -> S1 @ .5; S2 -> S3 @ .8; S3 -> 0 @ .6; S1 = 20; S2 = 0; S3 = 0",
    "telegraph": """
        Off -> On @ .1; On -> Off @ .2; On -> On + M @ 10; M -> 0 @ .5; M -> M + P @ 2; P -> 0 @ .05
        Off = 1; On = 0; M = 0; P = 0""",
    "repressilator": """
        0 => A @ 100/(1+20*B^6); 0 => B @ 100/(1+20*C^6); 0 => C @ 100/(1+20*A^6); A -> 0 @ 1; B -> 0 @ 1; C -> 0 @ 1
        A = 21; B = 0; C = 0""",
    "pap": """
        G1 => G2 @ 100*G1; G2 => G1 @ (0.25 + 2.25/(1+PapI))*G2; G1 => G3 @ 100*G1; G3 => G1 @ (1 + 0.2/(1+PapI))*G3
        G2 => G4 @ 0.01*99*G2; G4 => G2 @ (1 + 0.2/(1+PapI))*G4; G3 => G4 @ 0.01*99*G3; G4 => G3 @ (0.25 + 2.25/(1+PapI))*G4
        G2 => G2 + PapI @ 10*G2; PapI -> 0 @ 1; G1 = 1; G2 = 0; G3 = 0; G4 = 0; PapI = 0""",
    "goutsias": """
        RNA -> RNA + M @ k1; M -> 0 @ k2; DNAD -> DNAD + RNA @ k3; RNA -> 0 @ k4; DNA + D -> DNAD @ k5; DNAD -> DNA + D @ k6
        DNAD + D -> DNA2D @ k7; DNA2D -> DNAD + D @ k8; 2 M -> D @ k9; D -> 2 M @ k10
        k1 = 0.043; k2 = 0.0007; k3 = 0.0715; k4 = 0.0039; k5 = 0.0199264663575241; k6 = 0.4791
        k7 = 0.000199264663575241; k8 = 8.765e-12; k9 = 0.0830269431563505; k10 = 0.5
        DNA = 2; DNAD = 0; DNA2D = 0; RNA = 0; M = 2; D = 6""",
    "toggle_large": """
        0 => U @ 5000/(1+V^2.5); U -> 0 @ 1; 0 => V @ 1600/(1+U^1.5); V -> 0 @ 1; U = 100; V = 0""",
    "toggle2": """
        GeneA -> GeneA + A @ 40; GeneB -> GeneB + B @ 20; A -> 0 @ 1; B -> 0 @ 1; 2 A + GeneB -> bGeneB @ 1e-5
        2 B + GeneA -> bGeneA @ 3.5e-5; bGeneB -> 2 A + GeneB @ 1; bGeneA -> 2 B + GeneA @ 1
        GeneA = 1; GeneB = 1; A = 0; B = 0; bGeneB = 0; bGeneA = 0""",
    "michaelis_menten": """
        S + E -> ES @ 1; ES -> S + E @ 1; ES -> E + P @ 0.1; S = 100; E = 1000; ES = 0; P = 0""",
    "mapk": """
        0 => MEK @ s2; MEK => 0 @ d2*MEK; 0 => MEK @ s3*Kpp; 0 => K @ s1; K => 0 @ d1*K; KpY => 0 @ d1*KpY; KpT => 0 @ d1*KpT
        Kpp => 0 @ d1*Kpp; K + MEK => K_MEK_Y @ k1*K*MEK; K_MEK_Y => KpY + MEK @ k2*K_MEK_Y; KpY + MEK => KpY_MEK @ k3*KpY*MEK
        KpY_MEK => KpY + MEK @ k_3*KpY_MEK; KpY_MEK => Kpp + MEK @ k4*KpY_MEK; K + MEK => K_MEK_T @ k5*K*MEK
        K_MEK_T => K + MEK @ k_5*K_MEK_T; K_MEK_T => KpT + MEK @ k6*K_MEK_T; KpT + MEK => KpT_MEK @ k7*KpT*MEK
        KpT_MEK => KpT + MEK @ k_7*KpT_MEK; KpT_MEK => Kpp + MEK @ k8*KpT_MEK; Kpp + MKP3 => Kpp_MKP3 @ h1*Kpp*MKP3
        Kpp_MKP3 => Kpp + MKP3 @ h_1*Kpp_MKP3; Kpp_MKP3 => KpT_MKP3_Y @ h2*Kpp_MKP3; KpT_MKP3_Y => KpT + MKP3 @ h3*KpT_MKP3_Y
        KpT + MKP3 => KpT_MKP3_Y @ h_3*KpT*MKP3; KpT + MKP3 => KpT_MKP3_T @ h4*KpT*MKP3
        KpT_MKP3_T => KpT + MKP3 @ h_4*KpT_MKP3_T; KpT_MKP3_T => K_MKP3_T @ h5*KpT_MKP3_T; K_MKP3_T => K + MKP3 @ h6*K_MKP3_T
        K + MKP3 => K_MKP3_T @ h_6*K*MKP3; KpY + MKP3 => KpY_MKP3 @ h7*KpY*MKP3; KpY_MKP3 => KpY + MKP3 @ h_7*KpY_MKP3
        KpY_MKP3 => K_MKP3_Y @ h8*KpY_MKP3; K_MKP3_Y => K + MKP3 @ h9*K_MKP3_Y; K + MKP3 => K_MKP3_Y @ h_9*K*MKP3
        s1 = 0.00024; d1 = 0.0001; s2 = 0.001; d2 = 0.15; s3 = 0.005; k1 = 0.375; k_1 = 1.0; k2 = 0.06; k3 = 0.375; k_3 = 1.0
        k4 = 4.5; k5 = 0.375; k_5 = 1.0; k6 = 0.06; k7 = 0.375; k_7 = 1.0; k8 = 4.5; h1 = 0.015; h_1 = 1.0; h2 = 0.032; h3 = 0.31
        h_3 = 0.01; h4 = 0.01; h_4 = 1.0; h5 = 0.5; h6 = 0.086; h_6 = 0.0011; h7 = 0.01; h_7 = 1.0; h8 = 0.47; h9 = 0.14; h_9 = 0.0018
        MKP3 = 1; K = 3; Kpp_MKP3 = 0; KpT_MKP3_Y = 0; KpT_MKP3_T = 0; K_MKP3_T = 0; KpY_MKP3 = 0; K_MKP3_Y = 0; KpT_MEK = 0; KpT = 0
        KpY_MEK = 0; K_MEK_T = 0; KpY = 0; K_MEK_Y = 0; MEK = 0; Kpp = 0""",
    "lambda": """
        0 => CI2 @ k1*OR3*OR2; 0 => CI2 @ k2*OR3*COR2; 0 => CI2 @ k3*OR3*ROR2; 0 => Cro2 @ k4*OR1*OR2; CI2 => 0 @ k5*CI2
        Cro2 => 0 @ k6*Cro2; CI2 + OR1 => ROR1 @ k7*CI2*OR1; CI2 + OR2 => ROR2 @ k8*CI2*OR2; CI2 + OR3 => ROR3 @ k9*CI2*OR3
        Cro2 + OR1 => COR1 @ k10*Cro2*OR1; Cro2 + OR2 => COR2 @ k11*Cro2*OR2; Cro2 + OR3 => COR3 @ k12*Cro2*OR3
        ROR1 => CI2 + OR1 @ k13*ROR1*OR2; ROR1 => CI2 + OR1 @ k14*ROR1*ROR2*OR3; ROR1 => CI2 + OR1 @ k15*ROR1*ROR2*ROR3
        ROR1 => CI2 + OR1 @ k16*ROR1*ROR2*COR3; ROR1 => CI2 + OR1 @ k17*ROR1*COR2; ROR2 => CI2 + OR2 @ k18*ROR2*OR1*OR3
        ROR2 => CI2 + OR2 @ k19*ROR2*ROR1*OR3; ROR2 => CI2 + OR2 @ k20*ROR2*OR1*ROR3; ROR2 => CI2 + OR2 @ k21*ROR2*ROR1*ROR3
        ROR2 => CI2 + OR2 @ k22*ROR2*COR1*OR3; ROR2 => CI2 + OR2 @ k23*ROR2*OR1*COR3; ROR2 => CI2 + OR2 @ k24*ROR2*COR1*COR3
        ROR2 => CI2 + OR2 @ k25*ROR2*ROR1*COR3; ROR2 => CI2 + OR2 @ k26*ROR2*COR1*ROR3; ROR3 => CI2 + OR3 @ k27*ROR3*OR2
        ROR3 => CI2 + OR3 @ k28*ROR3*ROR2*OR1; ROR3 => CI2 + OR3 @ k29*ROR3*ROR2*ROR1; ROR3 => CI2 + OR3 @ k30*ROR3*ROR2*COR1
        ROR3 => CI2 + OR3 @ k31*ROR3*COR2; COR1 => Cro2 + OR1 @ k32*COR1*OR2; COR1 => Cro2 + OR1 @ k33*COR1*ROR2
        COR1 => Cro2 + OR1 @ k34*COR1*COR2*OR3; COR1 => Cro2 + OR1 @ k35*COR1*COR2*ROR3; COR1 => Cro2 + OR1 @ k36*COR1*COR2*COR3
        COR2 => Cro2 + OR2 @ k37*COR2*OR1*OR3; COR2 => Cro2 + OR2 @ k38*COR2*ROR1*OR3; COR2 => Cro2 + OR2 @ k39*COR2*OR1*ROR3
        COR2 => Cro2 + OR2 @ k40*COR2*ROR1*ROR3; COR2 => Cro2 + OR2 @ k41*COR2*COR1*OR3; COR2 => Cro2 + OR2 @ k42*COR2*OR1*COR3
        COR2 => Cro2 + OR2 @ k43*COR2*COR1*COR3; COR2 => Cro2 + OR2 @ k44*COR2*ROR1*COR3
        COR2 => Cro2 + OR2 @ k45*COR2*COR1*ROR3; COR3 => Cro2 + OR3 @ k46*COR3*OR2; COR3 => Cro2 + OR3 @ k47*COR3*ROR2
        COR3 => Cro2 + OR3 @ k48*COR3*COR2*OR1; COR3 => Cro2 + OR3 @ k49*COR3*COR2*ROR1; COR3 => Cro2 + OR3 @ k50*COR3*COR2*COR1
        k1 = 0.0069; k2 = 0.0069; k3 = 0.069; k4 = 0.0929; k5 = 0.0026; k6 = 0.0025; k7 = 0.021; k8 = 0.021; k9 = 0.021; k10 = 0.021
        k11 = 0.021; k12 = 0.021; k13 = 0.00898; k14 = 0.00011; k15 = 0.01242; k16 = 0.00011; k17 = 0.00898; k18 = 0.2297
        k19 = 0.0029; k20 = 0.0021; k21 = 0.0029; k22 = 0.2297; k23 = 0.2297; k24 = 0.2297; k25 = 0.0029; k26 = 0.0021; k27 = 1.13
        k28 = 0.0106; k29 = 0.0106; k30 = 0.0106; k31 = 1.13; k32 = 0.0202; k33 = 0.0202; k34 = 0.0040; k35 = 0.0040; k36 = 0.0040
        k37 = 0.1413; k38 = 0.1413; k39 = 0.1413; k40 = 0.1413; k41 = 0.0279; k42 = 0.053; k43 = 0.0328; k44 = 0.053; k45 = 0.0279
        k46 = 0.0022; k47 = 0.0022; k48 = 0.0008; k49 = 0.0008; k50 = 0.003
        OR1 = 1; OR2 = 1; OR3 = 1; COR1 = 0; COR2 = 0; COR3 = 0; ROR1 = 0; ROR2 = 0; ROR3 = 0; CI2 = 0; Cro2 = 0""",
}


def birth_death(n: int) -> str:
    """Two independent birth-death processes; the law fills a square of about n x n states."""
    return f"0 -> X @ {n / 2}; X -> 0 @ 1; 0 -> Y @ {n / 2}; Y -> 0 @ 1; X = {int(0.4 * n)}; Y = {int(0.4 * n)}"


@dataclass(frozen=True)
class Projection:
    """A model, the time and the tolerance; the box on which other integrators get the same generator; the law where it is known."""

    name: str
    text: str
    time: float
    tol: float = 1e-8
    box: dict[str, int] | None = None
    truth: Callable[[np.ndarray, float], np.ndarray] | None = None  # of states (N, S) and the time
    peers: tuple[str, ...] = ()
    long: bool = False  # minutes: only where CME_LONG_BENCHMARKS is set


def product_of_birth_deaths(states: np.ndarray, time: float, n: int) -> np.ndarray:
    """Immigration and death (Binomial + Poisson) for each of two species."""
    from scipy.stats import binom, poisson

    kept, start, k = np.exp(-time), int(0.4 * n), np.arange(2 * n)
    pmf = np.convolve(binom.pmf(k[: start + 1], start, kept), poisson.pmf(k, n / 2 * (1 - kept)))
    return pmf[states[:, 0]] * pmf[states[:, 1]]


def monomolecular(states: np.ndarray, time: float) -> np.ndarray:
    """Jahnke and Huisinga (2007): product Poisson and multinomial, from the generating function on a torus."""
    from scipy.linalg import expm

    flow = np.array([[-1, 0.5, 0, 6], [1, -1.3, 0, 0], [0, 0.8, -0.6, 0], [0, 0, 0, 0]]) * time
    grown = expm(flow)
    p, mean, size = grown[:3, 0], grown[:3, 3], 128
    z = np.exp(-2j * np.pi * np.arange(size) / size) - 1
    a, b, c = z[:, None, None], z[None, :, None], z[None, None, :]
    law = np.exp(mean[0] * a + mean[1] * b + mean[2] * c) * (1 + p[0] * a + p[1] * b + p[2] * c) ** 20
    return np.abs(np.fft.ifftn(law).real[tuple(states.T)])


ALL = ("expm_multiply", "BDF", "SLEPc")
KRYLOV = ("expm_multiply", "SLEPc")
_TOGGLE, _TELEGRAPH = {"U": 199, "V": 199}, {"M": 60, "P": 1500}

PROJECTIONS = [
    Projection("toggle, t=10", MODELS["toggle"], 10, box=_TOGGLE, peers=ALL),
    Projection("toggle, t=100", MODELS["toggle"], 100, box=_TOGGLE, peers=("SLEPc",)),
    Projection("toggle, t=1000", MODELS["toggle"], 1000),
    Projection("schlogl", MODELS["schlogl"], 10, box={"X": 1499}, peers=("BDF", "SLEPc")),
    Projection("birth-death 300", birth_death(300), 1, 1e-8, {"X": 299, "Y": 299}, lambda x, t: product_of_birth_deaths(x, t, 300), KRYLOV),
    Projection(
        "birth-death 1000", birth_death(1000), 1, 1e-8, {"X": 999, "Y": 999}, lambda x, t: product_of_birth_deaths(x, t, 1000), ("SLEPc",)
    ),
    Projection("birth-death 2236", birth_death(2236), 0.1, 1e-8, None, lambda x, t: product_of_birth_deaths(x, t, 2236)),
    Projection("monomolecular", MODELS["monomolecular"], 5, 1e-8, dict.fromkeys(("S1", "S2", "S3"), 63), monomolecular, KRYLOV),
    Projection("telegraph, t=10", MODELS["telegraph"], 10, box=_TELEGRAPH, peers=("SLEPc",)),
    Projection("telegraph, t=200", MODELS["telegraph"], 200),
    Projection("goutsias, t=100", MODELS["goutsias"], 100, 1e-4),
    Projection("goutsias, t=300", MODELS["goutsias"], 300, 1e-4, long=True),
    Projection("goutsias, t=1000", MODELS["goutsias"], 1000, 1e-4, long=True),
    Projection("pap, t=10", MODELS["pap"], 10, 1e-3),
    Projection("toggle2, t=30", MODELS["toggle2"], 30, 1e-3),
    Projection("mapk, t=10", MODELS["mapk"], 10, 1e-3),
    Projection("lambda, t=30", MODELS["lambda"], 30, 1e-3),
    Projection("michaelis_menten, t=70", MODELS["michaelis_menten"], 70, 1e-4),
    Projection("large toggle, t=30", MODELS["toggle_large"], 30, 1e-4, long=True),
    Projection("large toggle, t=100", MODELS["toggle_large"], 100, 1e-4, long=True),
    Projection("repressilator, t=2", MODELS["repressilator"], 2, 1e-4),
    Projection("repressilator, t=10", MODELS["repressilator"], 10, 1e-4),
]
