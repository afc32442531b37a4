//! `nerve generate`: a text that goes on.

use crate::args::Generate;
use crate::commands::{open, set_threads};
use crate::failure::Failure;
use crate::output;
use nerve::nn::generate::{Options, Sampling, Strategy};
use nerve_recipe::ModelError;
use nerve_recipe::source::escape;
use serde_json::json;
use std::io::{self, Write};
use std::ops::ControlFlow;

pub fn run(args: &Generate) -> Result<(), Failure> {
    set_threads(&args.common)?;
    let (_, predictor) = open(&args.runs, &args.run)?;
    let name = escape(&args.run.to_string_lossy());
    let Some(mut writer) = predictor.writer()? else {
        return Err(Failure::Data(format!(
            "{name}: its output is no text: `nerve predict` asks it"
        )));
    };
    if !writer.continues() {
        let inputs = &predictor.features().inputs;
        let names: Vec<String> = inputs.iter().map(|it| escape(&it.column.name)).collect();
        return Err(Failure::Data(format!(
            "{name}: it writes from {}: nerve predict {name} --data FILE",
            names.join(", ")
        )));
    }
    choose(args, writer.options());
    let prompt = args.prompt.replace("\\n", "\n");
    let mut whole = prompt.clone();
    let mut failed = None;
    if !args.common.json {
        tell(&prompt)?;
    }
    let written = writer.stream(&prompt, &mut |piece| {
        whole.push_str(piece);
        if !args.common.json
            && let Err(error) = tell(piece)
        {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    written.map_err(|error: ModelError| Failure::Usage(error.to_string()))?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    match args.common.json {
        true => Ok(output::json(&json!({ "prompt": prompt, "text": whole }))?),
        false => Ok(tell("\n")?),
    }
}

/// Writes a piece of the text at once.
fn tell(piece: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(piece.as_bytes())?;
    out.flush()
}

/// What the flags change of what stands in the model.
fn choose(args: &Generate, options: &mut Options) {
    options.max_new = args.max as usize;
    if args.temperature == Some(0.0) {
        options.strategy = Strategy::Greedy;
    } else if args.temperature.is_some() || args.top_k.is_some() || args.top_p.is_some() {
        let before = match &options.strategy {
            Strategy::Sample(sampling) => *sampling,
            _ => Sampling::default(),
        };
        options.strategy = Strategy::Sample(Sampling {
            temperature: args.temperature.unwrap_or(before.temperature),
            top_k: args.top_k.map(|k| k as usize).or(before.top_k),
            top_p: args.top_p.or(before.top_p),
        });
    }
    options.seed = args.seed.unwrap_or(options.seed);
}
