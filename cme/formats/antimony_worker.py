"""The antimony library in a process of its own: it keeps global state, and broken input can stop it, or make it run on and on.

Run as a script: a JSON object comes in on standard input and another goes out on standard output. It imports nothing of `cme`.
"""

import json
import sys

SECONDS, BYTES = 60, 4 << 30


def main() -> None:
    """Answer one request: ``to`` is "sbml" or "antimony", ``text`` the model, ``folder`` where its imports are looked for."""
    request = json.load(sys.stdin)
    _limit()
    import antimony

    if request["folder"]:
        antimony.addDirectory(request["folder"])
    load = antimony.loadAntimonyString if request["to"] == "sbml" else antimony.loadSBMLString
    if load(request["text"]) < 0:
        answer = {"error": antimony.getLastError() or "no reason is given"}
    else:
        write = antimony.getSBMLString if request["to"] == "sbml" else antimony.getAntimonyString
        text = write(antimony.getMainModuleName())
        answer = {"text": text} if text else {"error": antimony.getLastError() or "no reason is given"}
    json.dump(answer, sys.stdout)


def _limit() -> None:
    try:
        import resource
    except ImportError:  # no such limits on Windows; the time limit of the caller holds there too
        return
    for kind, most in ((resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, BYTES)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


if __name__ == "__main__":
    main()
