//! Templates: what they show, what they refuse, and that they end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn shown(source: &str, state: Value) -> String {
    render(source, &state).unwrap_or_else(|error| panic!("{source}: {error}"))
}

fn refused(source: &str, state: Value) -> TemplateError {
    let text = render(source, &state).map(|text| text.chars().take(200).collect::<String>());
    text.expect_err(source)
}

#[test]
fn fields_are_shown_as_they_are() {
    let state =
        json!({"title": "A <b> & \"c\"", "n": 3, "half": 0.5, "on": true, "none": null, "in": {"deep": ["x", "y"]}});
    assert_eq!(shown("# {{ title }}\n", state.clone()), "# A <b> & \"c\"\n");
    assert_eq!(
        shown("{{ n }} {{ half }} {{ on }}|{{ none }}|", state.clone()),
        "3 0.5 true||"
    );
    assert_eq!(
        shown("{{ in.deep[0] }}{{ in['deep'][-1] }}{{ in.deep[1:] }}", state.clone()),
        "xy[\"y\"]"
    );
    assert_eq!(
        shown("{{ in }} {{ {'a': 1} }}", state),
        "{\"deep\":[\"x\",\"y\"]} {\"a\":1}"
    );
    assert_eq!(
        shown("no tags: }} %} $ \u{e9}\r\n", json!({})),
        "no tags: }} %} $ \u{e9}\r\n"
    );
    assert_eq!(shown("", json!({})), "");
    assert_eq!(
        shown("{# not shown #}{% raw %}{{ x }}{% endraw %}", json!({})),
        "{{ x }}"
    );
}

#[test]
fn loops_and_conditions_leave_no_lines_of_their_own() {
    let source = "Steps:\n{% for step in steps if step.name %}\n{{ loop.index }}. {{ step.name }}{% if step.done %} (done){% endif %}\n\n\
                  {% else %}\nNone.\n  {% endfor %}\nEnd.\n";
    let steps = json!({"steps": [{"name": "a", "done": true}, {"name": ""}, {"name": "b", "done": false}]});
    assert_eq!(shown(source, steps), "Steps:\n1. a (done)\n2. b\nEnd.\n");
    assert_eq!(shown(source, json!({"steps": []})), "Steps:\nNone.\nEnd.\n");
    let source = "{% if n > 2 and not off %}many{% elif n == 2 or n in [0, 1] %}few{% else %}?{% endif %}";
    let said = [(3, false), (2, true), (0, true), (3, true)].map(|(n, off)| shown(source, json!({"n": n, "off": off})));
    assert_eq!(said, ["many", "few", "few", "?"]);
    assert_eq!(shown("{{ 'a' if 1 < n < 3 else 'b' }}", json!({"n": 2})), "a");
}

#[test]
fn a_recursive_loop_shows_a_tree() {
    let tree = json!({"nodes": [{"name": "a", "below": [{"name": "b", "below": []}]}, {"name": "c", "below": []}]});
    let source = "{% for node in nodes recursive %}({{ node.name }}{{ loop(node.below) }}){% endfor %}";
    assert_eq!(shown(source, tree), "(a(b))(c)");
}

#[test]
fn filters_and_tests_that_are_there_do_what_they_say() {
    let state = json!({"s": " Abc ", "l": ["x", null, 3, ["y"]], "m": {"k": "v"}, "none": null});
    let source = "{{ s|trim|upper }}{{ s|trim|lower }} {{ l|join('-') }} {{ l|length }}{{ l|first }}{{ m|length }}{{ l[:3]|last }}";
    assert_eq!(shown(source, state.clone()), "ABCabc x--3-[\"y\"] 4x13");
    assert_eq!(
        shown("{% for k, v in m|items %}{{ k }}={{ v }}{% endfor %}", state.clone()),
        "k=v"
    );
    assert_eq!(
        shown(
            "{{ gone|default('d') }}{% if gone is defined %}1{% endif %}",
            state.clone()
        ),
        "d"
    );
    assert_eq!(
        shown(
            "{{ gone is undefined }} {{ none is none }} {{ s is not none }}",
            state.clone()
        ),
        "true true true"
    );
    assert_eq!(shown("{{ l|join }}", state.clone()), "x3[\"y\"]");
    assert!(matches!(
        refused("{{ m|upper }}", state).problem,
        TemplateProblem::Failed(_)
    ));
}

#[test]
fn what_the_state_does_not_have_is_named_with_its_line() {
    let state = json!({"a": {"x": 1}, "none": null, "l": []});
    for (source, line, name) in [
        ("one\n{{ missing }}", 2, "`missing`"),
        ("{{ a.b }}", 1, "`a.b`"),
        ("{{ a.b.c }}", 1, "`a.b`"),
        ("\n\n{{ a['b'] }}", 3, "`a['b']`"),
        ("{% for x in gone %}{% endfor %}", 1, "`gone`"),
        ("{% if gone %}{% endif %}", 1, "`gone`"),
        ("{{ gone|upper }}", 1, "`gone`"),
        ("{{ l|first }}", 1, "a value"),
    ] {
        let missing = TemplateProblem::Missing(name.into());
        assert_eq!(refused(source, state.clone()), missing.at(line), "{source}");
    }
    let told = refused("{{ gone }}", state.clone()).to_string();
    assert_eq!(
        told,
        "the template, line 1: `gone` is not in the state; ask for it with `is defined`, or give it a value with `|default(..)`"
    );
    assert_eq!(
        shown("{% if none %}{{ gone }}{% endif %}", state),
        "",
        "what is not asked for need not be there"
    );
}

#[test]
fn what_is_no_template_has_its_line() {
    for (source, line, says) in [
        ("a\n\n{{ b c }}", 3, "unexpected identifier"),
        ("a\n{% for x in y %}\n", 2, "unexpected end of input"),
        ("{{ 'a }}", 1, "end of string"),
        ("a\n{% endif %}", 2, "endif"),
        ("\n{% macro f() %}{% endmacro %}", 2, "unknown statement macro"),
        ("{% include 'x' %}", 1, "unknown statement include"),
        ("{% extends 'x' %}", 1, "unknown statement extends"),
    ] {
        let error = refused(source, json!({"y": []}));
        assert!(
            matches!(&error.problem, TemplateProblem::Syntax(what) if what.contains(says)),
            "{source}: {error}"
        );
        assert_eq!(error.line, Some(line), "{source}: {error}");
    }
}

#[test]
fn whatever_makes_values_grow_is_refused_before_it_runs() {
    let state = json!({"s": "text", "n": 2, "l": [1]});
    let sources = [
        "{{ 'a' * 100000000 }}",
        "{{ s ~ s }}",
        "{{ s + s }}",
        "{{ l * n }}",
        "{{ n ** n }}",
        "{{ n - 1 }}",
        "{{ n / 2 }}",
        "{{ n // 2 }}",
        "{{ n % 2 }}",
        "{% set x = s %}",
        "{% set x %}a{% endset %}",
        "{% with x = s %}{% endwith %}",
        "{% filter upper %}a{% endfilter %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% do s() %}",
        "{{ range(9) }}",
        "{{ s.upper() }}",
        "{{ s() }}",
        "{{ loop(l)|upper }}",
        "{{ loop(l, l) }}",
        "{{ loop(*l) }}",
        "{{ [s, s] }}",
        "{{ [[1]] }}",
        "{{ {'a': s} }}",
        "{{ (s, s) }}",
        "{{ s|replace('t', s) }}",
        "{{ s|default(*l) }}",
        "{{ s is string }}",
        "{{ l|join(s ~ s) }}",
        "{{ s[n + 1:] }}",
        "{% for x in [s] %}{% endfor %}",
        "{{ now() }}",
        "{% if s ~ s %}{% endif %}",
        "{{ s if n + 1 else s }}",
        "{{ not (n + 1) }}",
        "{{ 1 < n + 1 < 9 }}",
        "{{ l[n + 1] }}",
        "{{ (n + 1).x }}",
    ];
    for source in sources {
        // Where it is not even reached.
        let hidden = format!("\n{{% if false %}}{{% for x in l %}}{{% else %}}{source}{{% endfor %}}{{% endif %}}");
        let error = refused(&hidden, state.clone());
        assert!(
            matches!(error.problem, TemplateProblem::Refused(_)),
            "{source}: {error}"
        );
        assert_eq!(error.line, Some(2), "{source}");
    }
    let told = refused("{{ s|nope }}", state).to_string();
    let filters = "default, first, items, join, last, length, lower, trim, upper";
    assert_eq!(
        told,
        format!("the template, line 1: there is no filter \"nope\"; there is {filters}")
    );
}

#[test]
fn what_takes_too_many_steps_stops() {
    let list: Vec<u32> = (0..1000).collect();
    let loops = "{% for a in l %}{% for b in l %}{% for c in l %}{% endfor %}{% endfor %}{% endfor %}";
    let error = refused(loops, json!({"l": list}));
    assert_eq!((error.problem, error.line), (TemplateProblem::TooMuchWork, Some(1)));
    assert_eq!(
        shown("{% for a in l %}{{ a }},{% endfor %}", json!({"l": list})).len(),
        3890
    );
    // A tree that is its own branch, and one that branches everywhere.
    let endless = refused("{% for x in l recursive %}{{ loop(l) }}{% endfor %}", json!({"l": [1]}));
    assert!(
        matches!(&endless.problem, TemplateProblem::Failed(what) if what.contains("recursion limit")),
        "{endless}"
    );
    let tree = |depth| (0..depth).fold(json!([]), |below, _| json!([below]));
    let walk = "{% for x in l recursive %}.{{ loop(x) }}{% endfor %}";
    assert_eq!(shown(walk, json!({"l": tree(DEPTH_MAX - 5)})).len(), DEPTH_MAX - 5);
    let too_deep = refused(walk, json!({"l": tree(DEPTH_MAX + 1)}));
    assert!(
        matches!(&too_deep.problem, TemplateProblem::Failed(what) if what.contains("recursion limit")),
        "{too_deep}"
    );
    let deep = "{% for x in l recursive %}{% if loop.depth < 40 %}{{ loop(l) }}{% endif %}{% endfor %}";
    assert_eq!(
        refused(deep, json!({"l": [1, 2]})).problem,
        TemplateProblem::TooMuchWork
    );
}

#[test]
fn what_makes_too_much_text_stops() {
    let state = json!({"l": (0..2000).collect::<Vec<u32>>(), "big": "x".repeat(1 << 20), "four": ["", "", "", "", ""]});
    let literal = format!("{{% for a in l %}}{}{{% endfor %}}", "y".repeat(10_000));
    for source in [
        literal.as_str(),
        "{% for a in l %}{{ big }}{% endfor %}",
        "{% for a in l %}{% if big|upper == 'x' %}{% endif %}{% endfor %}",
        "{% if four|join(big ) == 'x' %}{% endif %}{{ four|join(big) }}",
        "{% for a in four %}{{ big }}{% endfor %}",
    ] {
        assert_eq!(
            refused(source, state.clone()).problem,
            TemplateProblem::TooMuchText,
            "{}",
            &source[..40]
        );
    }
    let most = json!({"l": [1, 2, 3, 4], "big": "x".repeat(1 << 20)});
    assert_eq!(
        shown("{% for a in l %}{{ big }}{% endfor %}", most.clone()).len(),
        OUTPUT_LEN_MAX
    );
    assert_eq!(
        refused("{% for a in l %}{{ big }}{% endfor %}.", most).problem,
        TemplateProblem::TooMuchText
    );
}

#[test]
fn a_source_is_as_long_as_is_allowed() {
    let most = "x".repeat(SOURCE_LEN_MAX);
    assert_eq!(shown(&most, json!({})).len(), SOURCE_LEN_MAX);
    let error = refused(&format!("{most}."), json!({}));
    assert_eq!(error, TemplateProblem::TooLong(SOURCE_LEN_MAX + 1).somewhere());
}

#[test]
fn a_source_that_lies_in_itself_is_refused_before_it_takes_the_stack() {
    let of = |before: &str, in_it: &str, behind: &str| {
        let times = SOURCE_LEN_MAX / (before.len() + behind.len()) - 8;
        format!("{}{in_it}{}", before.repeat(times), behind.repeat(times))
    };
    let sources = [
        format!("{{{{ {} }}}}", of("(", "a", ")")),
        format!("{{{{ {} }}}}", of("[", "1", "]")),
        format!("{{{{ a{} }}}}", of("", "", ".a")),
        format!("{{{{ {}a }}}}", of("not ", "", "")),
        format!("{{{{ {}a }}}}", of("-", "", "")),
        format!("{{{{ a{} }}}}", of("", "", "|trim")),
        format!("{{{{ a{} }}}}", of("", "", " or a")),
        format!("{{{{ a{} }}}}", of("", "", " if a")),
        format!("{{{{ {}a }}}}", of("a if a else ", "", "")),
        of("{% if a %}", "", "{% endif %}"),
        of("{% for x in a %}", "", "{% endfor %}"),
        format!("{{% if a %}}{}{{% endif %}}", of("{% elif a %}", "", "")),
    ];
    for source in sources {
        let error = refused(&source, json!({"a": "x"}));
        let is_known = matches!(error.problem, TemplateProblem::Refused(_) | TemplateProblem::Syntax(_));
        assert!(is_known, "{}: {error}", &source[..40]);
    }
    // What is just allowed still has room on a small stack.
    let tag = format!("{{{{ a{} }}}}", ".a".repeat(TOKENS / 2 - 1));
    let not = format!("{{{{ {}a }}}}", "not ".repeat(TOKENS - 2));
    let ifs = format!("{}{not}{}", "{% if a %}".repeat(100), "{% endif %}".repeat(100));
    let elifs = format!(
        "{{% if b %}}{}{ifs}{{% endif %}}",
        "{% elif b %}".repeat(99) + "{% else %}"
    );
    let small = std::thread::Builder::new().stack_size(1 << 20);
    let ran = small.spawn(move || [tag, elifs].map(|source| render(&source, &json!({"a": true, "b": false}))));
    let [tag, elifs] = ran.expect("a thread").join().expect("no overflow");
    assert_eq!(
        tag.expect_err("no such field").problem,
        TemplateProblem::Missing("`a.a`".into())
    );
    assert_eq!(elifs.as_deref(), Ok("true"));
}

const TOKENS: usize = 200;

#[test]
fn a_refusal_has_its_line_in_long_sources_too() {
    let source = format!("{}{{{{ a + a }}}}", "\n".repeat(70_000));
    assert_eq!(refused(&source, json!({})).line, Some(70_001));
}

#[test]
fn a_state_without_json_or_fields_is_told() {
    let error = render("{{ a }}", &BTreeMap::from([(vec![1], 1)])).expect_err("no JSON");
    assert!(matches!(error.problem, TemplateProblem::State(_)), "{error}");
    assert_eq!(
        refused("{{ a }}", json!([1])).problem,
        TemplateProblem::Missing("`a`".into())
    );
    assert_eq!(shown("plain", json!(null)), "plain");
}

#[test]
fn the_same_source_and_state_give_the_same_text() {
    let state = json!({"m": {"b": 1, "a": 2, "c": {"z": 1, "y": 2}}});
    let source = "{% for k in m %}{{ k }}{% endfor %}{{ m }}";
    let text = shown(source, state.clone());
    assert_eq!(text, "abc{\"a\":2,\"b\":1,\"c\":{\"y\":2,\"z\":1}}", "sorted by key");
    assert_eq!(shown(source, state), text);
    let other_way = json!({"m": {"c": {"y": 2, "z": 1}, "a": 2, "b": 1}});
    assert_eq!(shown(source, other_way), text);
}
