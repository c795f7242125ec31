"""SBML that is broken, or that says what is not supported: every refusal, by name and line."""

import pytest
from sbml_documents import assignment, event, law, model, parameter, rate_rule, reaction, rule, species

import cme


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (model(rules=f"<algebraicRule>{law('S + k')}</algebraicRule>"), "line 14: the algebraic rule 0 = S \\+ k is not supported; solve"),
        (model(rules=rule("z", "2")), "the assignment rule for 'z': 'z' is not defined"),
        (model(rules=rule("k", "2") + rule("k", "3")), "the assignment rule for 'k': there are two"),
        (model(rules='<assignmentRule variable="k"/>', level=2), "the assignment rule for 'k' has no formula"),
        (model(rules=rule("k", "normal(0, 1)", draws=True)), "the assignment rule for 'k' draws random numbers; only an event or an"),
        (model(rules=rule("k", "2"), assignments=assignment("k", "2")), "the initial assignment to 'k': an assignment rule sets it too"),
        (model(assignments=assignment("z", "2")), "the initial assignment to 'z': 'z' is not defined"),
        (model(rules=rule("S", "2"), reactions=reaction()), "'S', which is set by a rule and no boundary species"),
        (model(rules=rate_rule("S", "2"), reactions=reaction()), "'S', which is set by a rule and no boundary species"),
        (model(rules=rate_rule("p", "2"), parameters=parameter("p")), "parameter 'p' has no value"),
        (model(species=species("S", constant="true"), reactions=reaction()), "'R' changes species 'S', which is constant and no boundary"),
        (model(species=species("S", None)), "line 8: species 'S' has no initial amount"),
        (model(species=species("S", "INF")), "line 8: species 'S' starts at inf; give it a finite initial amount"),
        (model(species=species("S").replace('"c"', '"d"')), "species 'S' is in compartment 'd', which does not exist"),
        (model(species=species("k")), "the identifier 'k' is used twice"),
        (model(reactions=reaction(name="k")), "the identifier 'k' is used twice"),
        (model(reactions='<reaction id="R" reversible="false"/>'), "line 14: reaction 'R' has no kinetic law, so that its rate is not"),
        (model(reactions='<reaction id="R" reversible="false"><kineticLaw/></reaction>'), "'R' has a kinetic law without a formula, so"),
        (model(reactions=reaction(products="Q")), "reaction 'R' uses species 'Q', which does not exist"),
        (model(reactions=reaction("k*Q")), "line 14: the kinetic law of reaction 'R': 'Q' is not defined"),
        (model(reactions=reaction("delay(S, 1)")), r"delay\(\) is not supported, since the state would need a memory; write the"),
        (model(reactions=reaction("rateOf(S)")), "line 14: the rate of change of 'S' depends on itself"),
        (model(reactions=reaction().replace('stoichiometry="1" ', "")), "'R': the stoichiometry of 'S' is not given; give it, or a rule"),
        (model(reactions=reaction("q*S", local='<localParameter id="q"/>')), "the local parameter 'q' of reaction 'R' has no value"),
        (model(attributes='xmlns:zz="http://www.sbml.org/sbml/level3/version1/zz/version1" zz:required="true"'), "line 2: not valid SBML"),
        (
            model(attributes='xmlns:comp="http://www.sbml.org/sbml/level3/version1/comp/version1" comp:required="true"'),
            "line 2: the model requires the package 'comp', which is not supported",
        ),
        (
            model(reactions=reaction(extra='fast="true"')).replace("version2", "version1").replace('version="2"', 'version="1"'),
            r"line 14: reaction 'R' is fast \(an equilibrium\), which is not supported; give it a large rate",
        ),
        (model(parameters=parameter("k"), reactions=reaction()), "parameter 'k' has no value"),
        (
            model(compartments='<compartment id="c" size="0" constant="true"/>', reactions=reaction()),
            "compartment 'c' has volume 0, and a formula divides by it; a volume must be",
        ),
        (model(event("k > 1", "z = 1")), "line 19: event 'E' sets 'z', which is not defined"),
        (model(event("k > 1", "k = 1"), rules=rule("k", "2")), "event 'E' sets 'k', which an assignment rule sets already"),
        (model(event("k > z", "k = 1")), "the trigger of event 'E': 'z' is not defined"),
        (model('<listOfEvents><event id="E"/></listOfEvents>', level=2), "event 'E' has no trigger"),
        (model(assignments=assignment("k", "1") + assignment("k", "2")), "the initial assignment to 'k': there are two of them; drop one"),
        (
            model(reactions=reaction("q*S", local='<localParameter id="q" value="1"/><localParameter id="q" value="2"/>')),
            "reaction 'R' has two local parameters 'q'; rename one",
        ),
    ],
)  # fmt: skip
def test_refusals(document, message):
    with pytest.raises(cme.ModelError, match=message):
        cme.load(document)


def test_all_problems_are_told_at_once():
    text = model(
        event("S > Q", "k = 1"),
        rules=f"<algebraicRule>{law('k')}</algebraicRule>",
        reactions=reaction("k*Q + time") + "\n" + reaction("delay(S, k)", name="R2", products="P"),
    )
    with pytest.raises(cme.ModelError) as error:
        cme.load(text)
    lines = str(error.value).splitlines()
    assert lines[0] == "SBML text: 5 things in this model can't be taken"
    assert [line.split(": ", 1)[1] for line in lines[1:]] == [
        "the algebraic rule 0 = k is not supported; solve it for one variable and write an assignment rule",
        "the kinetic law of reaction 'R': 'Q' is not defined",
        "the kinetic law of reaction 'R2': delay() is not supported, since the state would need a memory; write the delay with an event "
        "or a chain of steps",
        "reaction 'R2' uses species 'P', which does not exist",
        "the trigger of event 'E': 'Q' is not defined",
    ]


def test_problems_of_the_network_as_a_whole_are_told_with_the_others_and_have_lines():
    text = model(
        event("S > 1", "k = 1; k = 2"),
        compartments='<compartment id="c" size="-1" constant="true"/>',
        parameters=parameter("k", 2) + "\n".join(map(parameter, "xyzw")),
        rules=rule("x", "y + 1") + "\n" + rule("y", "2*x") + "\n" + rule("z", "x"),
        reactions=reaction("Q*S"),
    )
    with pytest.raises(cme.ModelError) as error:
        cme.load(text)
    assert str(error.value).splitlines() == [
        "SBML text: 4 things in this model can't be taken",
        "  line 5: compartment 'c' has volume -1; a volume must be positive",
        "  line 17: the assignment rules for x, y depend on each other in a cycle; solve them for one of the names",
        "  line 36: the kinetic law of reaction 'R': 'Q' is not defined",
        "  line 44: event 'E' sets 'k' twice; drop one of the two",
    ]
    assert [(each.kind, each.element) for each in error.value.problems] == [
        ("compartment", "c"), ("assignmentRule", "x"), ("kineticLaw", ""), ("event", "E"),
    ]  # fmt: skip


def test_circles_of_initial_values_are_told_with_the_others():
    starts = assignment("x", "y") + "\n" + assignment("y", "x") + "\n" + assignment("S", "u")
    rules = rule("u", "v") + rule("v", "u")
    text = model(parameters="".join(map(parameter, "xyuv")), assignments=starts, rules=rules, reactions=reaction("w"))
    with pytest.raises(cme.ModelError) as error:
        cme.load(text)
    assert [each.what.split(";")[0] for each in error.value.problems] == [
        "the initial value of 'x' depends on itself",
        "the assignment rules for u, v depend on each other in a cycle",
        "the kinetic law of reaction 'R': 'w' is not defined",
    ]


CONSTANT = '<parameter id="k" value="2" constant="true"/>'


@pytest.mark.parametrize("level", [2, 3])
@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"parameters": CONSTANT, "rules": rule("k", "3")}, "parameter 'k' is declared constant, but a rule"),
        ({"parameters": CONSTANT, "rules": rate_rule("k", "3")}, "parameter 'k' is declared constant, but a"),
        ({"rules": rate_rule("c", "3")},
         'compartment \'c\' is declared constant, but a rule sets it; write constant="false", or drop the rule'),
        ({"species": species("S", constant="true"), "rules": rule("S", "3")}, "species 'S' is declared constant, but a rule sets it"),
        (
            {"parameters": CONSTANT, "body": event("k > 1", "k = 1")},
            'parameter \'k\' is declared constant, but an event sets it; write constant="false", or drop the assignment',
        ),
        ({"species": species("S", constant="true"), "reactions": reaction()},
         "changes species 'S', which is constant and no boundary species"),
    ],
)  # fmt: skip
def test_constants_stay_constant(level, parts, message):
    text = model(**{**parts, "level": level})
    if level == 2:
        text = text.replace(' initialValue="true" persistent="true"', "").replace(' constant="true"/></listOf', "/></listOf")
    with pytest.raises(cme.ModelError, match=message):
        cme.load(text)


def test_a_constant_stoichiometry_stays_constant():
    text = model(reactions=reaction(), rules=rule("n", "3")).replace(
        '<speciesReference species="S"', '<speciesReference id="n" species="S"'
    )
    with pytest.raises(cme.ModelError, match="the species reference 'n' is declared constant, but a rule sets it; write constant"):
        cme.load(text)
    assert cme.load(text.replace('stoichiometry="1" constant="true"', 'constant="false"')).rules[0].name == "n"


def test_a_constraint_is_noted_and_the_note_stays_with_the_model():
    first, second = f"<constraint>{law('S > 1')}</constraint>", f'<constraint id="most">{law("S < 90")}</constraint>'
    named = f"<listOfConstraints>{first}{second}</listOfConstraints>"
    network = cme.load(model(named, reactions=reaction()))
    assert network == cme.load(model(reactions=reaction()))
    assert network.notes == (
        "constraint 1 (line 22), S > 1, is not watched; look at the results",
        "constraint 'most' (line 28), S < 90, is not watched; look at the results",
    )
    assert cme.load(network.to_sbml()).notes == network.with_parameters(k=3).notes == network.notes
    assert f"  note: {network.notes[0]}" in repr(network)
    assert [(each.severity, each.message) for each in cme.check(network).findings[:2]] == [("note", note) for note in network.notes]


@pytest.mark.parametrize(
    ("law", "message"),
    [
        (
            "uui(S, k, 2)",
            r"the kinetic law of reaction 'R': the predefined rate law uui\(\) of SBML Level 1 is not",
        ),
        ("massi(k)", r"the predefined rate law massi\(\) of SBML Level 1 is not supported"),
        ("frob(k)", "function 'frob' is not defined; define it with a functionDefinition, or write its formula in its place"),
    ],
)
def test_rate_laws_of_level_1(law, message):
    text = f"""<sbml xmlns="http://www.sbml.org/sbml/level1" level="1" version="2"><model><listOfCompartments><compartment name="c"/>
    </listOfCompartments><listOfSpecies><species name="S" compartment="c" initialAmount="6"/></listOfSpecies><listOfParameters>
    <parameter name="k" value="1"/></listOfParameters><listOfReactions><reaction name="R"><listOfReactants><speciesReference species="S"/>
    </listOfReactants><kineticLaw formula="{law}"/></reaction></listOfReactions></model></sbml>"""
    with pytest.raises(cme.ModelError, match=message):
        cme.load(text)


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
        (model().replace('level="3"', 'level="7"').encode(), "line 2: not valid SBML: level '7', version '2' and namespace '.*' do not"),
        (
            model().replace(' version="2"', ' version=""').encode(),
            "line 2: not valid SBML: level '3', version '' and namespace '.*' do not",
        ),
        (
            model().replace("version2/core", "version2").encode(),
            "do not belong together; use for example level '3', version '2' and 'http:",
        ),
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


def test_very_wide_formulas_are_refused_before_libsbml_sees_them():
    wide = "<math xmlns='http://www.w3.org/1998/Math/MathML'><apply><plus/>" + "<ci>S</ci>" * 200_000 + "</apply></math>"
    text = model(reactions=reaction().replace(law("k*S"), wide))
    assert wide in text
    with pytest.raises(cme.ModelError, match=r"line \d+: a formula has more than 100000 terms"):
        cme.load(text)
