use super::*;
use crate::spec::Peers;

static RELU: Spec =
    Spec { name: "relu", aliases: &[], peers: Peers::NONE, doc: "max(x, 0)", params: &[] };
static LEAKY: Spec = Spec {
    name: "leaky_relu",
    aliases: &["LeakyReLU"],
    peers: Peers::NONE,
    doc: "x or slope x",
    params: &[Param::with_default(
        "slope",
        Kind::non_negative(),
        Value::Float(0.01),
        "slope below zero",
    )],
};

fn activations() -> Vec<&'static Spec> {
    vec![&RELU, &LEAKY]
}

static CONV: Spec = Spec {
    name: "Conv2d",
    aliases: &["Conv2D"],
    peers: Peers::NONE,
    doc: "convolution",
    params: &[
        Param::required("filters", Kind::count(), "output channels").alias(&["out_channels"]),
        Param::required("kernel", Kind::count_or_pair(), "size").alias(&["kernel_size"]),
        Param::with_default(
            "padding",
            Kind::OneOf(&[Kind::Choice(&["same", "valid"]), Kind::int(0, 1000)]),
            Value::text("valid"),
            "border",
        ),
        Param::with_default(
            "activation",
            Kind::Item { what: "activation", specs: activations },
            Value::text("relu"),
            "after it",
        ),
        Param::optional("stride", Kind::count_or_pair(), "step"),
        Param::with_default("bias", Kind::Bool, Value::Bool(true), "whether a bias is added"),
    ],
};

fn given(entries: &[(&str, Value)]) -> Vec<(String, Value)> {
    entries.iter().map(|(key, value)| (key.to_string(), value.clone())).collect()
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| problem.kind.to_string()).collect()
}

#[test]
fn fills_every_default_and_keeps_the_declared_order() {
    let args = check(
        &CONV,
        &given(&[
            ("kernel_size", Value::Int(3)),
            ("type", Value::text("Conv2D")),
            ("filters", Value::Int(32)),
        ]),
    )
    .unwrap();
    assert_eq!(args.usize("filters"), 32);
    assert_eq!(args.pair("kernel"), [3, 3]);
    assert_eq!(args.text("padding"), "valid");
    assert!(args.bool("bias"));
    assert!(!args.has("stride"));
    assert_eq!(args.item("activation").name, "relu");
    let item = Item { name: "Conv2d", args };
    assert_eq!(
        item.to_string(),
        r#"{ type = "Conv2d", filters = 32, kernel = 3, padding = "valid", activation = "relu", bias = true }"#
    );
}

#[test]
fn reports_all_problems_at_once_with_their_places() {
    let problems = check(
        &CONV,
        &given(&[
            ("filter", Value::Int(32)),
            ("kernel", Value::List(vec![Value::Int(3), Value::Int(0)].into())),
            ("padding", Value::text("sam")),
            ("activation", Value::text("rellu")),
            ("bias", Value::Int(1)),
            ("stride", Value::Float(1.5)),
        ]),
    )
    .unwrap_err();
    assert_eq!(
        texts(&problems),
        [
            "unknown key `filter` in Conv2d",
            "`kernel` is 0, it should be a whole number of 1 or more",
            "unknown padding `sam`",
            "unknown activation `rellu`",
            "`bias` should be true or false, found 1",
            "`stride` should be a whole number of 1 or more, or a list of 2 values, each a whole \
             number of 1 or more, found 1.5",
            "missing key `filters` in Conv2d",
        ]
    );
    assert_eq!(problems[1].path, [Segment::Key("kernel".into()), Segment::Index(1)]);
    let ProblemKind::UnknownKey { nearest, allowed, .. } = &problems[0].kind else { panic!() };
    assert_eq!(*nearest, Some("filters"));
    assert_eq!(allowed.len(), 6);
    assert!(matches!(problems[2].kind, ProblemKind::UnknownWord { nearest: Some("same"), .. }));
    assert!(matches!(problems[3].kind, ProblemKind::UnknownWord { nearest: Some("relu"), .. }));
}

#[test]
fn the_same_parameter_under_two_names_is_refused() {
    let problems = check(
        &CONV,
        &given(&[
            ("filters", Value::Int(1)),
            ("out_channels", Value::Int(2)),
            ("kernel", Value::Int(3)),
        ]),
    )
    .unwrap_err();
    assert_eq!(
        texts(&problems),
        ["`out_channels` and `filters` mean the same, and both are given"]
    );
}

#[test]
fn items_are_a_name_or_a_table_with_a_type() {
    let with = |value| {
        check(
            &CONV,
            &given(&[("filters", Value::Int(1)), ("kernel", Value::Int(1)), ("activation", value)]),
        )
    };
    let table = |entries: &[(&str, Value)]| Value::Table(given(entries));
    let args =
        with(table(&[("type", Value::text("LeakyReLU")), ("slope", Value::Int(1))])).unwrap();
    assert_eq!(args.item("activation").name, "leaky_relu");
    assert_eq!(args.item("activation").args.float("slope"), 1.0);
    let problems = with(table(&[("slope", Value::Int(-1))])).unwrap_err();
    assert_eq!(texts(&problems), ["missing key `type` in this activation"]);
    let problems =
        with(table(&[("type", Value::text("leaky_relu")), ("slope", Value::Float(f64::NAN))]))
            .unwrap_err();
    assert_eq!(texts(&problems), ["`slope` is nan, it should be a number of 0 or more"]);
    assert_eq!(problems[0].path, [Segment::Key("activation".into()), Segment::Key("slope".into())]);
    let problems = with(table(&[("type", Value::Int(3))])).unwrap_err();
    assert!(texts(&problems)[0].starts_with("`type` should be the name of a known activation"));
    assert!(with(Value::Int(3)).is_err());
}

#[test]
fn ranges_are_closed_or_open_as_declared_and_never_take_nan_or_infinity() {
    let ok = |kind: &Kind, value| check_value("x", kind, &value).is_ok();
    assert!(ok(&Kind::fraction(), Value::Int(0)));
    assert!(!ok(&Kind::fraction(), Value::Int(1)));
    assert!(ok(&Kind::fraction(), Value::Float(0.999)));
    assert!(!ok(&Kind::positive(), Value::Float(0.0)));
    assert!(ok(&Kind::positive(), Value::Float(f64::MIN_POSITIVE)));
    for kind in [Kind::positive(), Kind::number(), Kind::non_negative()] {
        assert!(!ok(&kind, Value::Float(f64::NAN)));
        assert!(!ok(&kind, Value::Float(f64::INFINITY)));
        assert!(!ok(&kind, Value::Float(f64::NEG_INFINITY)));
    }
    assert!(ok(&Kind::int(-3, 3), Value::Int(-3)));
    assert!(!ok(&Kind::int(-3, 3), Value::Int(4)));
    assert!(!ok(&Kind::int(-3, 3), Value::Float(2.0)));
    assert!(!ok(&Kind::Text, Value::Other("a date")));
    assert_eq!(Kind::fraction().to_string(), "a number of 0 or more, and below 1");
}

#[test]
fn numbers_print_so_that_they_read_back() {
    let print = |value: f64| Value::Float(value).to_string();
    assert_eq!(print(1.0), "1.0");
    assert_eq!(print(1e-3), "0.001");
    assert_eq!(print(1e-8), "1e-8");
    assert_eq!(print(1e300), "1e300");
    assert_eq!(print(0.0), "0.0");
    assert_eq!(Value::Text("a\"b\\\n\u{1}".into()).to_string(), r#""a\"b\\\n\u0001""#);
}
