//! Runs test cases of the ONNX project and says which pass.
//!
//! ```text
//! cargo run --release -p nerve-onnx --example conformance -- CASES [--only TEXT] [--list FILE [--write]]
//! ```
//! `CASES` is a folder made by `.ci/onnx_conformance.py`: one folder a case with `model.onnx`, `input_*.pb`,
//! `output_*.pb`, and `cases.txt` with the tolerances. `--list` names the file of the cases that pass: one that is
//! on it and fails ends the program with 1; `--write` adds those that pass now.

use nerve_core::{DType, Tensor};
use nerve_formats::onnx::{Type, read_model, read_value};
use nerve_onnx::import::{ImportErrorKind, Network, Options, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// A line of `cases.txt`: name, version, whether the types are ordinary, tolerances, operators.
struct Case {
    name: String,
    opset: i64,
    ordinary: bool,
    rtol: f64,
    atol: f64,
    ops: Vec<String>,
}

enum Verdict {
    Passed,
    Failed(String),
    Unsupported(String),
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut folder = None;
    let (mut only, mut list, mut write) = (None, None, false);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--only" => only = arguments.next(),
            "--list" => list = arguments.next().map(PathBuf::from),
            "--write" => write = true,
            _ => folder = Some(PathBuf::from(argument)),
        }
    }
    let Some(folder) = folder else {
        eprintln!("usage: conformance CASES [--only TEXT] [--list FILE [--write]]");
        return ExitCode::from(2);
    };
    // What goes wrong is in the verdict; operations that panic would say it twice.
    std::panic::set_hook(Box::new(|_| {}));
    let cases = match cases(&folder) {
        Ok(cases) => cases,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(4);
        }
    };
    let mut verdicts = Vec::new();
    for case in &cases {
        if only.as_ref().is_none_or(|only| case.name.contains(only.as_str())) {
            let verdict = run(&folder.join(&case.name), case);
            match &verdict {
                Verdict::Passed => {}
                Verdict::Failed(why) => println!("failed       {}: {why}", case.name),
                Verdict::Unsupported(why) => println!("unsupported  {}: {why}", case.name),
            }
            verdicts.push((case, verdict));
        }
    }
    summary(&verdicts);
    match list {
        Some(list) => ratchet(&list, &verdicts, write),
        None => ExitCode::SUCCESS,
    }
}

fn cases(folder: &Path) -> Result<Vec<Case>, String> {
    let path = folder.join("cases.txt");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let case = |line: &str| -> Option<Case> {
        let mut parts = line.split('\t');
        let mut next = || parts.next();
        Some(Case {
            name: next()?.to_string(),
            opset: next()?.parse().ok()?,
            ordinary: next()? == "1",
            rtol: next()?.parse().ok()?,
            atol: next()?.parse().ok()?,
            ops: next()?.split(' ').map(String::from).collect(),
        })
    };
    text.lines().map(|l| case(l).ok_or_else(|| format!("cases.txt: cannot read {l:?}"))).collect()
}

fn run(folder: &Path, case: &Case) -> Verdict {
    let model = match read_model(folder.join("model.onnx"), false) {
        Ok(model) => model,
        Err(error) => return Verdict::Failed(error.to_string()),
    };
    let kinds: Vec<Option<Type>> = model.graph.inputs.iter().map(|i| i.kind.clone()).collect();
    let outputs: Vec<Option<Type>> = model.graph.outputs.iter().map(|i| i.kind.clone()).collect();
    let result = (|| -> Result<(), (bool, String)> {
        let refuse = |error: nerve_onnx::import::ImportError| {
            (error.kind() == ImportErrorKind::Unsupported, error.to_string())
        };
        let network = Network::new(&case.name, model, Options::default()).map_err(refuse)?;
        let inputs = values(folder, "input", &kinds).map_err(|m| (true, m))?;
        let expected = values(folder, "output", &outputs).map_err(|m| (true, m))?;
        let found = network.run(&inputs).map_err(refuse)?;
        for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
            same(e, f, case).map_err(|m| (false, format!("output {i}: {m}")))?;
        }
        Ok(())
    })();
    match result {
        Ok(()) => Verdict::Passed,
        Err((true, why)) => Verdict::Unsupported(why),
        Err((false, why)) => Verdict::Failed(why),
    }
}

fn values(folder: &Path, what: &str, kinds: &[Option<Type>]) -> Result<Vec<Value>, String> {
    let read = |(i, kind): (usize, &Option<Type>)| {
        let path = folder.join(format!("{what}_{i}.pb"));
        let kind = kind.clone().ok_or("a value without a type")?;
        Value::from_file(&read_value(path, &kind).map_err(|e| e.to_string())?)
    };
    kinds.iter().enumerate().map(read).collect()
}

fn same(expected: &Value, found: &Value, case: &Case) -> Result<(), String> {
    match (expected, found) {
        (Value::Tensor(e) | Value::Narrow(_, e), Value::Tensor(f)) => same_numbers(e, f, case),
        (Value::Strings(e), Value::Strings(f)) if e == f => Ok(()),
        (Value::Sequence(e), Value::Sequence(f)) if e.len() == f.len() => {
            e.iter().zip(f).try_for_each(|(e, f)| same(e, f, case))
        }
        (Value::Optional(None), Value::Optional(None)) => Ok(()),
        (Value::Optional(Some(e)), Value::Optional(Some(f))) => same(e, f, case),
        (Value::Optional(Some(e)), f) => same(e, f, case),
        (e, f) => Err(format!("expected {e:?}, found {f:?}")),
    }
}

/// Operators whose numbers nobody could compare: their shapes are.
const RANDOM: [&str; 6] = [
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
];

/// numpy.testing.assert_allclose: |found − expected| ≤ atol + rtol · |expected|.
fn same_numbers(expected: &Tensor, found: &Tensor, case: &Case) -> Result<(), String> {
    if expected.shape() != found.shape() || expected.dtype() != found.dtype() {
        let (a, b, c, d) = (expected.dtype(), expected.shape(), found.dtype(), found.shape());
        return Err(format!("expected {a} {b}, found {c} {d}"));
    }
    if case.ops.iter().any(|op| RANDOM.contains(&op.as_str())) {
        return Ok(());
    }
    if expected.dtype() == DType::I64 {
        let (e, f) = (expected.to_vec::<i64>(), found.to_vec::<i64>());
        return if e == f { Ok(()) } else { Err(format!("expected {e:.80?}, found {f:.80?}")) };
    }
    let wide = |t: &Tensor| t.to_dtype(DType::F64).to_vec::<f64>();
    for (i, (e, f)) in wide(expected).iter().zip(wide(found)).enumerate() {
        let close = (f - e).abs() <= case.atol + case.rtol * e.abs();
        if !(close || *e == f || (e.is_nan() && f.is_nan())) {
            return Err(format!("element {i}: expected {e}, found {f}"));
        }
    }
    Ok(())
}

fn summary(verdicts: &[(&Case, Verdict)]) {
    let mut by_op: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    for (case, verdict) in verdicts {
        for op in &case.ops {
            by_op.entry(op).or_default()[place(verdict)] += 1;
        }
    }
    println!("{:<32} {:>6} {:>6} {:>11}", "operator", "passed", "failed", "unsupported");
    for (op, [passed, failed, unsupported]) in by_op {
        println!("{op:<32} {passed:>6} {failed:>6} {unsupported:>11}");
    }
    let share = |name: &str, chosen: &dyn Fn(&Case) -> bool| {
        let mut count = [0; 3];
        for (_, verdict) in verdicts.iter().filter(|(case, _)| chosen(case)) {
            count[place(verdict)] += 1;
        }
        let all: usize = count.iter().sum();
        let percent = 100.0 * count[0] as f64 / all.max(1) as f64;
        let [passed, failed, unsupported] = count;
        println!(
            "{name}: {passed} of {all} passed ({percent:.1} %), {failed} failed, {unsupported} unsupported"
        );
    };
    share("ordinary types, version ≤ 17", &|case| case.ordinary && case.opset <= 17);
    share("ordinary types, version ≤ 24", &|case| case.ordinary && case.opset <= 24);
    share("all", &|_| true);
}

fn place(verdict: &Verdict) -> usize {
    match verdict {
        Verdict::Passed => 0,
        Verdict::Failed(_) => 1,
        Verdict::Unsupported(_) => 2,
    }
}

/// What passed once must pass for ever.
fn ratchet(list: &Path, verdicts: &[(&Case, Verdict)], write: bool) -> ExitCode {
    let text = std::fs::read_to_string(list).unwrap_or_default();
    let mut known: BTreeSet<&str> = text.lines().collect();
    let passed = |(case, verdict): &(&Case, Verdict)| {
        matches!(verdict, Verdict::Passed).then_some(case.name.clone())
    };
    let now: BTreeSet<String> = verdicts.iter().filter_map(passed).collect();
    let lost: Vec<&&str> = known.iter().filter(|name| !now.contains(**name)).collect();
    lost.iter().for_each(|name| println!("passed before and does not now: {name}"));
    let failed = !lost.is_empty();
    if write {
        known.extend(now.iter().map(String::as_str));
        let lines: Vec<&str> = known.into_iter().collect();
        if let Err(error) = std::fs::write(list, lines.join("\n") + "\n") {
            eprintln!("{}: {error}", list.display());
            return ExitCode::from(4);
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
