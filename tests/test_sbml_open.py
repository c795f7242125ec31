"""SBML that is broken, or that says what is not supported: every refusal, by name and line."""

import pytest
from sbml_documents import assignment, law, model, parameter, reaction, rule, species

import cme


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (model('<listOfEvents><event id="E" useValuesFromTriggerTime="true"/></listOfEvents>'), "line 13: event 'E' is not supported"),
        (model("<listOfEvents><event useValuesFromTriggerTime='true'/></listOfEvents>"), "line 13: event 1 is not supported"),
        (model(f"<listOfConstraints><constraint>{law('S > 1')}</constraint></listOfConstraints>"), "line 13: constraint 1 is not"),
        (model(rules=f'<rateRule variable="S">{law("1")}</rateRule>'), "line 14: the rate rule for 'S' is not supported"),
        (model(rules=f"<algebraicRule>{law('S + k')}</algebraicRule>"), "line 14: the algebraic rule 0 = S \\+ k is not supported"),
        (model(rules=rule("c", "2")), "line 14: the assignment rule for 'c': a volume that a rule sets is not supported"),
        (model(rules=rule("z", "2")), "the assignment rule for 'z': 'z' is not defined"),
        (model(rules=rule("k", "2") + rule("k", "3")), "the assignment rule for 'k': there are two"),
        (model(rules='<assignmentRule variable="k"/>'), "the assignment rule for 'k' has no formula"),
        (model(rules=rule("k", "2"), assignments=assignment("k", "2")), "the initial assignment to 'k': an assignment rule sets it too"),
        (model(rules=rule("S", "2"), reactions=reaction()), "'S', which is set by an assignment rule and no boundary species"),
        (model(species=species("S", constant="true"), reactions=reaction()), "'R' changes species 'S', which is constant and no boundary"),
        (model(species=species("S", None)), "line 8: species 'S' has no initial amount"),
        (model(species=species("S", -1)), "SBML text: species 'S' starts at -1; an initial count must be finite and >= 0"),
        (model(species=species("S").replace('"c"', '"d"')), "species 'S' is in compartment 'd', which does not exist"),
        (model(species=species("k")), "the identifier 'k' is used twice"),
        (model(reactions=reaction(name="k")), "the identifier 'k' is used twice"),
        (model(reactions='<reaction id="R" reversible="false"/>'), "line 14: reaction 'R' has no kinetic law"),
        (model(reactions='<reaction id="R" reversible="false"><kineticLaw/></reaction>'), "the kinetic law of reaction 'R' has no formula"),
        (model(reactions=reaction(products="Q")), "reaction 'R' uses species 'Q', which does not exist"),
        (model(reactions=reaction("k*Q")), "line 14: the kinetic law of reaction 'R': 'Q' is not defined"),
        (model(reactions=reaction("k*time")), r"the time in a formula \(csymbol 'time'\) is not supported"),
        (model(reactions=reaction("k*avogadro")), "the csymbol 'avogadro' is not supported"),
        (model(reactions=reaction("delay(S, 1)")), r"delay\(\) is not supported"),
        (model(reactions=reaction("rateOf(S)")), r"rateOf\(\) is not supported"),
        (model(reactions=reaction().replace('stoichiometry="1"', 'stoichiometry="1.5"')), "'R': the stoichiometry of 'S' is 1.5, not"),
        (model(reactions=reaction().replace('stoichiometry="1"', 'stoichiometry="-1"')), "'R': the stoichiometry of 'S' is -1, not"),
        (model(reactions=reaction().replace('stoichiometry="1" ', "")), "'R': the stoichiometry of 'S' is nan, not a whole number"),
        (
            model(reactions=reaction().replace("<speciesReference", '<speciesReference id="n"'), assignments=assignment("n", "2")),
            "'R': the stoichiometry of 'S' is set by a formula, which is not supported",
        ),
        (model(reactions=reaction(local='<localParameter id="q"/>')), "the local parameter 'q' of reaction 'R' has no value"),
        (model(attributes='xmlns:zz="http://www.sbml.org/sbml/level3/version1/zz/version1" zz:required="true"'), "line 2: not valid SBML"),
        (
            model(attributes='xmlns:distrib="http://www.sbml.org/sbml/level3/version1/distrib/version1" distrib:required="true"'),
            "line 2: the model requires the package 'distrib', which is not supported",
        ),
        (model().replace('<model id="m">', '<model id="m" conversionFactor="k">'), "the conversion factor 'k' of the model is not"),
        (model(species=species("S").replace("/>", ' conversionFactor="k"/>')), "the conversion factor 'k' of species 'S' is not supported"),
        (
            model(reactions=reaction(extra='fast="true"')).replace("version2", "version1").replace('version="2"', 'version="1"'),
            r"line 14: reaction 'R' is fast \(an equilibrium\), which is not supported",
        ),
        (model(parameters=parameter("k", "INF")), "parameter 'k' has no value"),
        (model(compartments='<compartment id="c" size="0" constant="true"/>'), "compartment 'c' has volume 0; a volume must be"),
    ],
)  # fmt: skip
def test_refusals(document, message):
    if "'k' has no value" in message:
        document = document.replace("</model>", f"<listOfReactions>{reaction()}</listOfReactions></model>")
    with pytest.raises(cme.ModelError, match=message):
        cme.load(document)


@pytest.mark.parametrize(
    "formula", ["k*S - 3*k", "c*(k*S - k*3)", "(k*S - k)/c", "v", "piecewise(k*S - k, S > 2, 0)", "k*S + -1*k", "-(k - S)"]
)
def test_a_reversible_law_that_is_a_difference_is_refused(formula):
    text = model(
        parameters=parameter("k", 2) + parameter("v"), rules=rule("v", "k*S - 1*k"), reactions=reaction(formula, reversible="true")
    )
    with pytest.raises(
        cme.ModelError, match=r"reaction 'R' is reversible and its law .* is a difference, a net flux and no propensity; write"
    ):
        cme.load(text)
    cme.load(text.replace('reversible="true"', 'reversible="false"'))


@pytest.mark.parametrize("formula", ["k*S", "k*S*(S - 1)/2", "k*S/(1 - k)", "k*exp(-S)", "max(S - k, 0)"])
def test_a_reversible_law_that_is_no_difference_is_taken(formula):
    cme.load(model(reactions=reaction(formula, reversible="true")))


def test_all_problems_are_told_at_once():
    text = model(
        '<listOfEvents><event id="E" useValuesFromTriggerTime="true"/></listOfEvents>',
        rules=f'<rateRule variable="k">{law("1")}</rateRule>',
        reactions=reaction("k*Q + time") + "\n" + reaction("delay(S, k)", name="R2", products="P"),
    )
    with pytest.raises(cme.ModelError) as error:
        cme.load(text)
    lines = str(error.value).splitlines()
    assert lines[0] == "SBML text: 5 things in this SBML model can't be taken"
    assert [line.split(": ", 1)[1] for line in lines[1:]] == [
        "the rate rule for 'k' is not supported",
        "the kinetic law of reaction 'R': 'Q' is not defined",
        "reaction 'R2' uses species 'P', which does not exist",
        "the kinetic law of reaction 'R2': delay() is not supported",
        "event 'E' is not supported",
    ]


# ------------------------------------------------------------------------------------------------------ broken files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"  \n ", "is empty"),
        (b"not xml at all", "line 1: not well-formed XML \\(syntax error\\)"),
        (b"<sbml><model></sbml>", "line 1: not well-formed XML \\(mismatched tag\\)"),
        (b"<html>\n<body/></html>", "line 2: not valid SBML \\(Document does not conform to the SBML XML schema\\)"),
        (b"\xff\xfe\x00\x01", "not well-formed XML"),
        (b"<a>" * 5000 + b"</a>" * 5000, "line 1: elements are nested more than 1000 levels deep"),
        (
            model().replace("<listOfSpecies>", "<listOfSpecies>\n<bogus/>").encode(),
            "line 7: not valid SBML .* Element 'bogus' is not part of the definition",
        ),
        (model().replace('size="4"', 'size="big"').encode(), "not valid SBML"),
        (model().replace('level="3"', 'level="7"').encode(), "not valid SBML"),
    ],
)
def test_broken_files_give_one_line(tmp_path, content, message):
    path = tmp_path / "broken.xml"
    path.write_bytes(content)
    with pytest.raises(cme.ModelError, match=message) as error:
        cme.load(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_hostile_nesting_is_refused():
    deep = "<apply><sin/>" * 300 + "<ci>S</ci>" + "</apply>" * 300
    text = model(rules='<assignmentRule variable="k"><math xmlns="http://www.w3.org/1998/Math/MathML">' + deep + "</math></assignmentRule>")
    with pytest.raises(cme.ModelError, match="the assignment rule for 'k': a formula is nested more than 200 levels deep"):
        cme.load(text)


def test_long_sums_nested_to_the_left_are_read():
    total = "S"
    for _ in range(250):
        total = f"<apply><plus/>{total.replace('S', '<ci>S</ci>') if total == 'S' else total}<ci>S</ci></apply>"
    text = model(
        rules='<assignmentRule variable="k"><math xmlns="http://www.w3.org/1998/Math/MathML">' + total + "</math></assignmentRule>"
    )
    assert len(cme.load(text).rules[0].formula.args) == 251
