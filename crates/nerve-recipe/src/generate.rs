//! `generate` of an output that is written: how each token is chosen, and when to stop.

use crate::columns::Column;
use crate::diagnostic::{Code, Diagnostic};
use crate::tree::Node;
use nerve_data::features::Role;
use nerve_formats::spec::{Args, Kind, Param, Peers, Spec, Target, Value};
use nerve_nn::generate::{Beam, Options, Sampling, Strategy};

/// The table `generate`.
pub(crate) static GENERATE: Spec = Spec {
    name: "generate",
    aliases: &[],
    peers: Peers::NONE,
    doc: "How a text is written; it goes into the model file.",
    params: &[
        Param::with_default(
            "method",
            Kind::Choice(&["greedy", "beam", "sample"]),
            Value::text("greedy"),
            "greedy: the likeliest token each time; beam: the likeliest of some texts that are followed side by side; \
             sample: at random, as likely as the network says",
        ),
        Param::optional(
            "max_len",
            Kind::int(1, 1 << 16),
            "the most tokens; without it as many as the texts that were learned from have at most",
        )
        .alias(&["max_length"]),
        Param::with_default(
            "repetition_penalty",
            Kind::positive(),
            Value::Float(1.0),
            "above 1, tokens that were written already become less likely",
        ),
        Param::optional(
            "width",
            Kind::int(1, 256),
            "beam: how many texts are followed; 4 without it",
        )
        .alias(&["beams"]),
        Param::optional(
            "length_penalty",
            Kind::float(0.0, 10.0),
            "beam: texts are compared by log p / length^penalty; 1 without it",
        ),
        Param::optional(
            "temperature",
            Kind::positive(),
            "sample: below 1 the likely becomes likelier; 1 without it",
        ),
        Param::optional("top_k", Kind::int(1, 1 << 24), "sample: only the k likeliest tokens"),
        Param::optional(
            "top_p",
            Kind::Float { min: 0.0, max: 1.0, open_min: true, open_max: false },
            "sample: only the likeliest tokens that have this share together",
        ),
        Param::optional(
            "seed",
            Kind::int(0, i64::MAX),
            "sample: the start of the random numbers; 0 without it",
        ),
    ],
};

/// What belongs to one method alone.
const OWN: [(&str, &str); 6] = [
    ("width", "beam"),
    ("length_penalty", "beam"),
    ("temperature", "sample"),
    ("top_k", "sample"),
    ("top_p", "sample"),
    ("seed", "sample"),
];

/// What is wrong with the tables `generate`.
pub(crate) fn check(tree: &Node, outputs: &[Column], problems: &mut Vec<Diagnostic>) {
    for output in outputs.iter().filter(|output| output.args.has("generate")) {
        let at = output.path(Role::Output, Some("generate"));
        let span = |key: &str| {
            let path = [&at[..], &[nerve_formats::spec::Segment::Key(key.to_string())]].concat();
            Some(tree.find(&path, Target::Key))
        };
        if output.feature.name != "text" {
            let message = format!("`generate`, and the output is a {}", output.feature.name);
            let place = Some(tree.find(&at, Target::Key));
            let problem = Diagnostic::new(Code::Contradiction, message, place);
            problems.push(problem.label("a text is written token by token; nothing else is"));
            continue;
        }
        let args = &output.args.item("generate").args;
        let method = args.text("method");
        for (key, of) in OWN.iter().filter(|(key, of)| args.has(key) && *of != method) {
            let message = format!("`{key}` is for the method {of}; here is {method}");
            let problem = Diagnostic::new(Code::Contradiction, message, span(key));
            problems.push(problem.label(format!("method = \"{of}\", or leave it out")));
        }
    }
}

/// The options of an output, for texts of up to `longest` tokens unless it says otherwise, ending with the token `end`.
pub(crate) fn options(output: &Column, longest: usize, end: i32) -> Options {
    let default = Options { max_new: longest, stop: vec![end], ..Options::default() };
    if !output.args.has("generate") {
        return default;
    }
    let args: &Args = &output.args.item("generate").args;
    let strategy = match args.text("method") {
        "beam" => Strategy::Beam(Beam {
            beams: if args.has("width") { args.usize("width") } else { 4 },
            length_penalty: number(args, "length_penalty", 1.0),
        }),
        "sample" => Strategy::Sample(Sampling {
            temperature: number(args, "temperature", 1.0),
            top_k: args.has("top_k").then(|| args.usize("top_k")),
            top_p: args.has("top_p").then(|| args.float("top_p")),
        }),
        _ => Strategy::Greedy,
    };
    Options {
        max_new: if args.has("max_len") { args.usize("max_len") } else { longest },
        repetition_penalty: args.float("repetition_penalty"),
        strategy,
        seed: if args.has("seed") { args.int("seed") as u64 } else { 0 },
        ..default
    }
}

fn number(args: &Args, key: &str, otherwise: f64) -> f64 {
    if args.has(key) { args.float(key) } else { otherwise }
}
