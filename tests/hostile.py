"""Text that no honest program writes: what readers must refuse, in bounded time and memory, with a `ModelError` that can be shown."""

import random
import re
import string

import cme

WORDS = (
    "species compartment model convention start at after piecewise normal time begin end functions groups reactions parameters "
    "-> => <-> <=> @ := ' = ~ : ; , # $ ( ) [ ] { } \" \\ \0 \t \n \r \x0b \u2028 \ud7ff 0 1 1e999 -1 .5 5. 1e-400 nan inf lambda class "
    "import __import__ os.system + - * / ^ ** && || ! != == <= >= % _ é ² ٣ 😀 9999999999999999999999 0x10 1_000 1j None True"
).split(" ")


def junk(size):
    """Texts of about a given size, each with its name."""
    rng = random.Random(1)
    yield "letters", "".join(rng.choices(string.ascii_letters + " \n", k=size))
    yield "characters", "".join(rng.choices(string.printable, k=size))
    yield "words", " ".join(rng.choices(WORDS, k=size // 4))
    yield "one name", "A -> B @ " + "k" * size
    yield "one number", "A -> B @ " + "9" * size
    yield "factor", "9" * size + " A -> B @ 1"
    yield "open", "A -> B @ " + "(" * size
    yield "nested", "A -> B @ " + "(" * (size // 2) + "1" + ")" * (size // 2)
    yield "calls", "A -> B @ " + "exp(" * (size // 5) + "1" + ")" * (size // 5)
    yield "minus", "A -> B @ " + "-" * size + "1"
    yield "powers", "A -> B @ 2" + "^2" * (size // 2)
    yield "sum", "A -> B @ 1" + "+1" * (size // 2)
    yield "no operators", "A -> B @ " + "1 " * (size // 2)
    yield "semicolons", ";" * size
    yield "lines", "\n" * size
    yield "quotes", '"' * size
    yield "quoted", '"' + "\\" * size + '": A -> B @ 1'
    yield "labels", "a:" * (size // 2)
    yield "arrows", "->" * (size // 2) + "@"
    yield "at", "at " * (size // 3) + ":"
    yield "after", "at " + "after " * (size // 6) + ": A = 1"
    yield "commas", "at A > 1" + ", t0 = false" * (size // 12) + ": A = "
    yield "species", "species " + "A, " * (size // 3) + "$"
    yield "terms", "A + " * (size // 4) + "-> B @ 1"
    yield "sides", "(" * size + "A -> B @ 1"
    yield "twice", "k = 1;" * (size // 6)
    yield "prefix", "convention " + "x" * size
    yield "null", "\0" * size


def net_junk(size):
    """The same, inside a .net file."""
    head, tail = "begin parameters\n 1 k 1\nend parameters\nbegin species\n 1 A() 5\nend species\n", "\nend reactions\n"
    for name, text in junk(size):
        yield f"net {name}", text
        yield f"law {name}", f"{head}begin reactions\n 1 1 0 " + text.removeprefix("A -> B @ ").replace("\n", " ") + tail
    yield "net stars", f"{head}begin reactions\n 1 1 0 " + "1*" * (size // 2) + "Sat 1 2" + tail
    yield "net reactants", f"{head}begin reactions\n 1 " + "1," * (size // 2) + "1 0 k" + tail
    yield "net begins", "begin species\n" * (size // 14)
    yield "net groups", head + "begin reactions\n 1 1 0 k" + tail + "begin groups\n 1 G " + "9*" * (size // 2) + "1\nend groups"


def mutated(text, rng):
    """A text with a few pieces left out, doubled, moved or replaced."""
    for _ in range(rng.randint(1, 3)):
        i, j = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        j = min(j, i + rng.choice([1, 2, 5, 40]))
        piece = text[i:j]
        k = rng.randrange(len(text) + 1)
        match rng.randrange(5):
            case 0:
                text = text[:i] + text[j:]
            case 1:
                text = text[:i] + piece * rng.choice([2, 3, 50]) + text[j:]
            case 2:
                text = text[:i] + rng.choice(WORDS) + text[j:]
            case 3:
                text = text[:k] + piece + text[k:]
            case 4:
                text = text[:i] + "".join(rng.choices(string.printable, k=len(piece))) + text[j:]
    return text


_ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')
_NAME = re.compile(r"<ci>\s*(\w+)\s*</ci>")
_ELEMENT = re.compile(r"<\w+[^>]*?/>|<(\w+)[^>]*>.*?</\1>", re.DOTALL)
_NAMING = ("id", "variable", "symbol", "species", "compartment")


def mutated_xml(text, rng):
    """A document with a few attributes, names and elements left out, moved or replaced; it stays XML."""
    for _ in range(rng.randint(1, 4)):
        attributes = [each for each in _ATTRIBUTE.finditer(text) if each[1] not in ("xmlns", "level", "version")]
        naming = [each for each in attributes if each[1] in _NAMING]
        names = list(_NAME.finditer(text))
        elements = [each for each in _ELEMENT.finditer(text) if len(each[0]) < len(text) / 2]
        match rng.randrange(5):
            case 0 if attributes:
                found = rng.choice(attributes)
                text = text[: found.start(2)] + rng.choice(["0", "-1", "NaN", "INF", "", "true", "x", "1e400"]) + text[found.end(2) :]
            case 1 if attributes:
                found = rng.choice(attributes)
                text = text[: found.start()] + text[found.end() :]
            case 2 if names:
                found = rng.choice(names)
                text = text[: found.start(1)] + rng.choice([*(each[1] for each in names), "zz", "time"]) + text[found.end(1) :]
            case 3 if elements:
                found = rng.choice(elements)
                text = text[: found.start()] + text[found.end() :]
            case 4 if naming:
                found = rng.choice(naming)
                text = text[: found.start(2)] + rng.choice(naming)[2] + text[found.end(2) :]
    return text


def judge(read, text):
    """Read a text: a network that can be shown and written comes out, or an error of one kind and of a length that can be shown."""
    message = ""
    try:
        network = read(text)
    except cme.ModelError as error:
        message = str(error) or "nothing"
    if message:
        assert 10 < len(message) < 4000, message[:300]
        return None
    repr(network)
    return network
