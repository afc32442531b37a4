//! What the server says of itself and of its models, in the words of the Open Inference Protocol.

use crate::columns::{Holds, InputColumn, OutputColumn};
use crate::graph::Port;
use crate::loaded::Loaded;
use crate::repository::Repository;
use crate::tensor::Datatype;
use crate::watch::{Histogram, Timed};
use nerve_data::features::Answer;
use nerve_formats::Meaning;
use serde_json::{Value, json};

/// The parts of the protocol beyond its core that are here.
const EXTENSIONS: [&str; 7] = [
    "binary_tensor_data",
    "classification",
    "model_repository",
    "model_configuration",
    "statistics",
    "schedule_policy",
    "parameters",
];

/// `GET /v2`.
pub fn server() -> Value {
    json!({ "name": "nerve", "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS })
}

fn tensor(port: Port) -> Value {
    json!({ "name": port.name, "datatype": port.datatype.name(), "shape": port.shape })
}

/// `GET /v2/models/M`.
pub fn model(model: &Loaded, versions: &[u64]) -> Value {
    let task = |output: &OutputColumn| match &output.sample {
        Answer::Number(_) => "regression",
        Answer::Numbers(_) => "numbers",
        Answer::Quantiles { .. } => "quantiles",
        Answer::Classes(_) => "classification",
        Answer::Several(_) => "multilabel",
        Answer::Pixels(_) => "segmentation",
        Answer::Text(_) if output.kind == "sequence" => "tagging",
        Answer::Text(_) => "generation",
    };
    let (platform, properties) = match model {
        Loaded::Rows(served) => {
            let tasks: Vec<&str> = served.outputs.iter().map(task).collect();
            let mut properties = json!({ "task": tasks.join(","), "sha256": served.sha256 });
            if let Some(most) = served.most_tokens() {
                properties["max_tokens"] = json!(most);
            }
            ("nerve_v1", properties)
        }
        Loaded::Graph(graph) => {
            let together = match &graph.apart {
                None => "rows of several requests are run together".to_string(),
                Some(why) => format!("each request is run alone: {why}"),
            };
            ("onnx_onnxv1", json!({ "batching": together, "sha256": graph.sha256 }))
        }
    };
    json!({
        "name": model.name(),
        "versions": versions.iter().map(u64::to_string).collect::<Vec<_>>(),
        "platform": platform,
        "inputs": model.inputs().into_iter().map(tensor).collect::<Vec<_>>(),
        "outputs": model.outputs().into_iter().map(tensor).collect::<Vec<_>>(),
        "properties": properties,
    })
}

/// `GET /v2/models/M/config`: as much of Triton's ModelConfig as there is here.
pub fn config(model: &Loaded, delay_us: u128) -> Value {
    let most_rows = model.most_rows();
    let part = |port: Port| {
        let datatype = match port.datatype {
            Datatype::Bytes => "STRING",
            other => other.name(),
        };
        // Where rows are run together, their axis is not said.
        let dims = if most_rows > 0 { &port.shape[1..] } else { &port.shape[..] };
        let dims = if dims.is_empty() { &[1][..] } else { dims };
        json!({ "name": port.name, "data_type": format!("TYPE_{datatype}"), "dims": dims })
    };
    let mut config = json!({
        "name": model.name(),
        "platform": match model {
            Loaded::Rows(_) => "nerve_v1",
            Loaded::Graph(_) => "onnx_onnxv1",
        },
        "backend": "nerve",
        "version_policy": { "all": {} },
        "max_batch_size": most_rows,
        "input": model.inputs().into_iter().map(part).collect::<Vec<_>>(),
        "output": model.outputs().into_iter().map(part).collect::<Vec<_>>(),
        "instance_group": [{ "name": model.name(), "kind": "KIND_CPU", "count": 1 }],
    });
    if most_rows > 0 {
        config["dynamic_batching"] = json!({
            "preferred_batch_size": [most_rows],
            "max_queue_delay_microseconds": delay_us,
        });
    }
    config
}

/// An entry of `GET /v2/models/M/stats`.
pub fn statistics(model: &Loaded) -> Value {
    let watch = model.watch();
    let of = |timed: &Timed| json!({ "count": timed.count.get(), "ns": timed.ns.get() });
    let none = json!({ "count": 0, "ns": 0 });
    json!({
        "name": model.name(),
        "version": model.version().to_string(),
        "last_inference": watch.last.get(),
        "inference_count": watch.rows.get(),
        "execution_count": watch.batches.get(),
        "inference_stats": {
            "success": of(&watch.success),
            "fail": of(&watch.failed),
            "queue": of(&watch.queue),
            "compute_input": of(&watch.input),
            "compute_infer": of(&watch.infer),
            "compute_output": of(&watch.output),
            "cache_hit": none,
            "cache_miss": none,
        },
        "batch_stats": [],
    })
}

/// `GET /form`: what the page asks for, for each model.
pub fn form(models: &[Loaded]) -> Value {
    let input = |input: &InputColumn| {
        let mut field = json!({ "name": input.name });
        field["holds"] = match (&input.holds, input.feature.meaning()) {
            (Holds::Picture(size), _) => {
                field["size"] = json!(size);
                "picture"
            }
            (Holds::Sound(_), _) => "sound",
            (Holds::Vector(length), _) => {
                field["length"] = json!(length);
                "vector"
            }
            (Holds::Cell, Meaning::Category { names }) => {
                field["choices"] = json!(&*names);
                "choice"
            }
            (Holds::Cell, _) if input.tensor().0 == Datatype::Fp64 => "number",
            (Holds::Cell, _) => "text",
        }
        .into();
        field
    };
    let array = |port: &Port| {
        json!({
            "name": port.name,
            "holds": "array",
            "datatype": port.datatype.name(),
            "shape": port.shape,
        })
    };
    let named = |name: &String| json!({ "name": name });
    let model = |model: &Loaded| {
        let (inputs, outputs): (Vec<Value>, Vec<Value>) = match model {
            Loaded::Rows(served) => {
                let mut inputs: Vec<Value> = served.inputs.iter().map(input).collect();
                let mut outputs: Vec<Value> =
                    served.outputs.iter().map(|output| named(&output.name)).collect();
                if served.most_tokens().is_some() {
                    outputs[0]["written"] = json!(true);
                }
                if served.continues() {
                    inputs[0]["beginning"] = json!(true);
                }
                (inputs, outputs)
            }
            Loaded::Graph(graph) => (
                graph.inputs.iter().map(array).collect(),
                graph.outputs.iter().map(|port| named(&port.name)).collect(),
            ),
        };
        json!({ "name": model.name(), "inputs": inputs, "outputs": outputs })
    };
    json!({ "models": models.iter().map(model).collect::<Vec<_>>() })
}

/// The text of `GET /metrics`: Prometheus' format 0.0.4.
pub fn metrics(
    repository: &Repository,
    open: u64,
    requests: &[(u16, u64)],
    triton: bool,
) -> String {
    let models = &repository.served()[..];
    let mut text = Text(String::new());
    text.head("nerve_build_info", "gauge", "The version of the server.");
    text.line("nerve_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    text.head("nerve_connections", "gauge", "Connections that are open.");
    text.line("nerve_connections", &[], open as f64);
    text.head("nerve_requests_total", "counter", "Requests by the status of their answer.");
    for (code, count) in requests {
        text.line("nerve_requests_total", &[("code", &code.to_string())], *count as f64);
    }
    process(&mut text);
    text.head("nerve_model_info", "gauge", "The models that answer.");
    for model in models {
        let version = model.version().to_string();
        let labels = [("model", model.name()), ("version", &version), ("sha256", model.sha256())];
        text.line("nerve_model_info", &labels, 1.0);
    }
    for (name, kind, help, read) in COUNTERS {
        text.head(name, kind, help);
        models.iter().for_each(|model| text.of(name, model, &[], read(model.watch()) as f64));
    }
    text.head("nerve_rejected_total", "counter", "Requests that were not answered, by reason.");
    for model in models {
        let watch = model.watch();
        let reasons = [
            ("full", &watch.full),
            ("deadline", &watch.late),
            ("cancelled", &watch.cancelled),
            ("panic", &watch.panics),
        ];
        for (reason, count) in reasons {
            text.of("nerve_rejected_total", model, &[("reason", reason)], count.get() as f64);
        }
    }
    text.histogram("nerve_request_seconds", "From the request to its answer.", models, |w| {
        &w.request_seconds
    });
    text.histogram("nerve_queue_seconds", "Time in the queue.", models, |w| &w.queue_seconds);
    text.histogram("nerve_compute_seconds", "Time of a batch in the network.", models, |w| {
        &w.compute_seconds
    });
    text.histogram("nerve_batch_rows", "Rows of a batch.", models, |w| &w.batch_rows);
    drift(&mut text, repository, models);
    if triton {
        for (name, kind, help, read) in TRITON {
            text.head(name, kind, help);
            models.iter().for_each(|model| text.of(name, model, &[], read(model.watch()) as f64));
        }
        text.head(
            "nv_inference_request_failure",
            "counter",
            "Number of failed inference requests.",
        );
        for model in models {
            let watch = model.watch();
            let rejected = watch.full.get() + watch.late.get();
            let other = watch.failed.count.get().saturating_sub(rejected);
            for (reason, count) in
                [("REJECTED", rejected), ("CANCELED", watch.cancelled.get()), ("OTHER", other)]
            {
                text.of("nv_inference_request_failure", model, &[("reason", reason)], count as f64);
            }
        }
    }
    text.0
}

/// What the rows are like, and what was said of them.
fn drift(text: &mut Text, repository: &Repository, models: &[Loaded]) {
    let watched: Vec<_> =
        models.iter().filter_map(|model| Some((model, model.drifting()?))).collect();
    text.head("nerve_prediction_total", "counter", "Rows by the class that was said.");
    for (model, drifting) in &watched {
        for output in &drifting.outputs {
            for (class, count) in &output.classes {
                let labels = [("output", &*output.name), ("class", class)];
                text.of("nerve_prediction_total", model, &labels, count.get() as f64);
            }
        }
    }
    text.head(
        "nerve_prediction_confidence",
        "histogram",
        "The probability of the class that was said.",
    );
    for (model, drifting) in &watched {
        for output in drifting.outputs.iter().filter(|output| !output.classes.is_empty()) {
            let labels = [("output", &*output.name)];
            text.buckets("nerve_prediction_confidence", model, &labels, &output.sure);
        }
    }
    type Count = fn(&crate::drift::Input) -> &crate::watch::Counter;
    let counts: [(&str, &str, Count); 2] = [
        ("nerve_input_missing_total", "Cells without a value.", |input| &input.missing),
        (
            "nerve_input_out_of_range_total",
            "Numbers beyond those of the training rows, and names that these do not have.",
            |input| &input.out_of_range,
        ),
    ];
    for (name, help, count) in counts {
        text.head(name, "counter", help);
        for (model, drifting) in &watched {
            for input in &drifting.inputs {
                text.of(name, model, &[("feature", &*input.name)], count(input).get() as f64);
            }
        }
    }
    let found: Vec<_> =
        models.iter().filter_map(|model| Some((model, repository.drift(model)?))).collect();
    text.head(
        "nerve_drift_score",
        "gauge",
        "A p-value (ks, chisquare, z) or a distance of the last rows from those of the training.",
    );
    for (model, drift) in &found {
        for column in &drift.columns {
            if let Ok(verdict) = &column.verdict {
                let labels = [("feature", &*column.feature), ("test", verdict.test.name())];
                text.of("nerve_drift_score", model, &labels, verdict.score);
            }
        }
    }
    text.head("nerve_drift_detected", "gauge", "Whether the last rows have drifted.");
    for (model, drift) in &found {
        for column in &drift.columns {
            let drifted = f64::from(u8::from(column.drifted()));
            text.of("nerve_drift_detected", model, &[("feature", &*column.feature)], drifted);
        }
    }
}

type Row = (&'static str, &'static str, &'static str, fn(&crate::watch::Watch) -> u64);

const COUNTERS: [Row; 4] = [
    ("nerve_rows_total", "counter", "Rows that went through the network.", |w| w.rows.get()),
    ("nerve_batches_total", "counter", "Batches that went through the network.", |w| {
        w.batches.get()
    }),
    ("nerve_queue_depth", "gauge", "Requests that wait.", |w| w.waiting.get()),
    ("nerve_failed_total", "counter", "Requests that were not answered.", |w| w.failed.count.get()),
];

/// The names of Triton, for the boards that know them; times are in microseconds.
const TRITON: [Row; 9] = [
    ("nv_inference_request_success", "counter", "Number of successful inference requests.", |w| {
        w.success.count.get()
    }),
    ("nv_inference_count", "counter", "Number of inferences performed.", |w| w.rows.get()),
    ("nv_inference_exec_count", "counter", "Number of model executions performed.", |w| {
        w.batches.get()
    }),
    ("nv_inference_pending_request_count", "gauge", "Requests that wait.", |w| w.waiting.get()),
    ("nv_inference_request_duration_us", "counter", "Cumulative time of requests.", |w| {
        w.success.ns.get() / 1000
    }),
    ("nv_inference_queue_duration_us", "counter", "Cumulative time in the queue.", |w| {
        w.queue.ns.get() / 1000
    }),
    ("nv_inference_compute_input_duration_us", "counter", "Cumulative time of inputs.", |w| {
        w.input.ns.get() / 1000
    }),
    ("nv_inference_compute_infer_duration_us", "counter", "Cumulative time in the network.", |w| {
        w.infer.ns.get() / 1000
    }),
    ("nv_inference_compute_output_duration_us", "counter", "Cumulative time of outputs.", |w| {
        w.output.ns.get() / 1000
    }),
];

struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let escape =
            |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> =
            labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escape(value))).collect();
        let labels =
            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        self.0.push_str(&format!("{name}{labels} {value}\n"));
    }

    fn of(&mut self, name: &str, model: &Loaded, more: &[(&str, &str)], value: f64) {
        let version = model.version().to_string();
        let labels = [&[("model", model.name()), ("version", &version)], more].concat();
        self.line(name, &labels, value);
    }

    fn histogram<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        models: &[Loaded],
        of: impl Fn(&crate::watch::Watch) -> &Histogram<N>,
    ) {
        self.head(name, "histogram", help);
        for model in models {
            self.buckets(name, model, &[], of(model.watch()));
        }
    }

    fn buckets<const N: usize>(
        &mut self,
        name: &str,
        model: &Loaded,
        more: &[(&str, &str)],
        histogram: &Histogram<N>,
    ) {
        let (buckets, count, sum) = histogram.read();
        let bucket = format!("{name}_bucket");
        let bounds = buckets.into_iter().map(|(bound, below)| (bound.to_string(), below));
        for (bound, below) in bounds.chain([("+Inf".to_string(), count)]) {
            self.of(&bucket, model, &[more, &[("le", &bound)]].concat(), below as f64);
        }
        self.of(&format!("{name}_sum"), model, more, sum);
        self.of(&format!("{name}_count"), model, more, count as f64);
    }
}

/// What the system says of this process, where it says it.
fn process(text: &mut Text) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes =
        resident.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok());
    if let Some(kilobytes) = kilobytes {
        text.head("process_resident_memory_bytes", "gauge", "Resident memory in bytes.");
        text.line("process_resident_memory_bytes", &[], kilobytes * 1024.0);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        text.head("process_open_fds", "gauge", "Open file descriptors.");
        text.line("process_open_fds", &[], files.count() as f64);
    }
}
