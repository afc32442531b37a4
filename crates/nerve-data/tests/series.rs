//! A series from a table to batches.

use std::sync::Arc;

use nerve_data::features::{Role, Setting, find};
use nerve_data::series::{Order, Timeline, sorted};
use nerve_data::table::{Prepared, Slot};
use nerve_data::transform::Pipeline;
use nerve_data::{Cells, Column, Dataset, Feature, Loader, LoaderOptions, Origin, Subset, Table};
use nerve_formats::spec::{Value, check};

/// Two series of hours, mixed: `load` counts up from 0 in one and from 100 in the other.
fn table() -> Table {
    let rows: Vec<(usize, f64)> = (0..12).flat_map(|hour| [(hour, 0.0), (hour, 100.0)]).collect();
    let text = |cells: Vec<String>| Cells::Text(cells.iter().map(|c| Some(c.as_str())).collect());
    let column = |name: &str, cells| Column { name: name.into(), cells };
    Table::new(
        vec![
            column(
                "time",
                text(rows.iter().map(|(h, _)| format!("2024-05-01 {h:02}:00")).collect()),
            ),
            column("meter", text(rows.iter().map(|(_, m)| format!("m{m}")).collect())),
            column("load", Cells::Numbers(rows.iter().map(|(h, m)| m + *h as f64).collect())),
        ],
        Origin::default(),
    )
    .unwrap()
}

fn feature(role: Role, given: &[(&str, Value)], table: &Table, rows: &[usize]) -> Arc<dyn Feature> {
    let mut all = vec![("normalize".to_string(), Value::text("none"))];
    all.extend(given.iter().map(|(key, value)| (key.to_string(), value.clone())));
    let entry = find("timeseries").unwrap();
    let args = check(entry.spec, &all).unwrap();
    let mut fit = (entry.begin)(&args, &Setting { role, folder: ".".into() }).unwrap();
    let cells = &table.column("load").unwrap().cells;
    rows.iter().for_each(|&row| fit.observe(cells, row).unwrap());
    fit.finish().unwrap()
}

#[test]
fn windows_and_horizons_of_the_same_series_meet_in_a_batch() {
    let own = |text: &str| Some(text.to_string());
    let order = Order { time: own("time"), series: own("meter"), freq: own("1h"), stride: 1 };
    let table = Arc::new(sorted(table(), &order).unwrap());
    let timeline = Timeline::new(&table, &order).unwrap();
    let all: Vec<usize> = (0..24).collect();
    let input = feature(Role::Input, &[("window", Value::Int(3))], &table, &all);
    let output = feature(Role::Output, &[("horizon", Value::Int(2))], &table, &all);
    let mut target = Slot::one("load", output);
    target.name = "target".into();
    let slots = vec![Slot::one("load", input.clone()), target];
    let reach = slots.iter().map(Slot::reach).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end));
    let samples = timeline.samples(&all, reach.unwrap(), 1, true);
    assert_eq!(samples.len(), 2 * (12 - 2 - 2));

    let prepared = Prepared::new(table, slots.clone(), &samples).unwrap();
    let mut pipeline = Pipeline::new(prepared.fields());
    for slot in &slots {
        let feature = slot.parts[0].1.clone();
        pipeline = pipeline.deliver(&slot.name, feature, true, 0).unwrap();
    }
    let options = LoaderOptions { batch_size: 16, ..LoaderOptions::default() };
    let subset = Subset::new(prepared, samples).unwrap();
    let loader = Loader::new(Arc::new(subset), options).unwrap().with_pipeline(pipeline).unwrap();
    let mut batches = loader.epoch(0, 0);
    let batch = batches.next().unwrap().unwrap();
    assert_eq!(batch.arrays()[0].shape(), [16, 3, 1]);
    assert_eq!(batch.arrays()[1].shape(), [16, 2]);
    let (windows, horizons) = (batch.arrays()[0].f32(), batch.arrays()[1].f32());
    for (window, horizon) in windows.chunks(3).zip(horizons.chunks(2)) {
        let first = window[0];
        assert_eq!([window, horizon].concat(), [0.0, 1.0, 2.0, 3.0, 4.0].map(|i| first + i));
    }
    assert_eq!((windows[0], windows[8 * 3]), (0.0, 100.0));
}

#[test]
fn a_sample_beyond_the_data_is_an_error() {
    let table = Arc::new(table());
    let all: Vec<usize> = (0..24).collect();
    let input = feature(Role::Input, &[("window", Value::Int(3))], &table, &all);
    let prepared = Prepared::new(table, vec![Slot::one("load", input)], &[1]).unwrap();
    let fields = prepared.fields().to_vec();
    let mut arrays = vec![nerve_data::Array::zeros(&fields[0], 1)];
    let read = prepared.read(1, &mut nerve_data::Row::new(&mut arrays, 0));
    let error = read.unwrap_err().to_string();
    assert_eq!(
        error,
        "sample 1: it needs the rows from -2 to 0 around it, and the data have rows 0 to 23"
    );
}
