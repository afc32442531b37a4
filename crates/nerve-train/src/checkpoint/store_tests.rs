//! What a folder of checkpoints survives.

use super::*;

fn snapshot(step: u64) -> Snapshot {
    let tensor = |name: &str, values: &[f32]| StateTensor {
        name: name.into(),
        dtype: DType::F32,
        shape: [values.len()].into(),
        bytes: values.iter().flat_map(|x| x.to_le_bytes()).collect(),
    };
    let position = Position { step, epoch: 1 + step / 3, samples: step % 3 };
    Snapshot::new(position, vec![tensor("model/w", &[step as f32, 0.5]), tensor("model/b", &[])])
}

fn names(checkpoints: &Checkpoints) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(checkpoints.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into())
        .collect();
    names.sort();
    names
}

#[test]
fn the_last_two_and_the_best_are_kept_by_their_step() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(folder.path().join("a/b")).unwrap();
    assert!(checkpoints.last().unwrap().is_none());
    for step in [0, 3, 6, 12, 9] {
        checkpoints.save(&snapshot(step), step == 3).unwrap();
    }
    let [three, nine, twelve] =
        ["step-000000003-epoch-0002", "step-000000009-epoch-0004", "step-000000012-epoch-0005"];
    let expected = ["best", three, nine, twelve];
    assert_eq!(names(&checkpoints), expected);
    let found = checkpoints.last().unwrap().unwrap();
    assert_eq!(found.snapshot, snapshot(12));
    assert!(found.damaged.is_empty());
    assert!(checkpoints.best().unwrap().ends_with(three));
    // The same step once more is the same.
    checkpoints.save(&snapshot(12), true).unwrap();
    assert_eq!(names(&checkpoints), ["best", nine, twelve]);
}

#[test]
fn k02_every_flipped_bit_is_noticed_and_the_one_before_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(folder.path()).unwrap();
    checkpoints.save(&snapshot(1), false).unwrap();
    let path = checkpoints.save(&snapshot(2), false).unwrap();
    let mut bits = 0;
    for file in [STATE, MANIFEST] {
        let whole = fs::read(path.join(file)).unwrap();
        for bit in 0..8 * whole.len() {
            let mut torn = whole.clone();
            torn[bit / 8] ^= 1 << (bit % 8);
            fs::write(path.join(file), &torn).unwrap();
            assert!(read(&path).is_err(), "{file}, bit {bit}");
            bits += 1;
        }
        let found = checkpoints.last().unwrap().unwrap();
        assert_eq!(found.snapshot, snapshot(1));
        assert_eq!(found.damaged.len(), 1);
        fs::write(path.join(file), &whole).unwrap();
    }
    assert!(bits > 3000, "{bits}");
    assert_eq!(checkpoints.last().unwrap().unwrap().snapshot, snapshot(2));
}

#[test]
fn k01_k04_one_that_is_cut_or_lacks_a_file_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(folder.path()).unwrap();
    let path = checkpoints.save(&snapshot(2), false).unwrap();
    for file in [STATE, MANIFEST] {
        let whole = fs::read(path.join(file)).unwrap();
        for length in 0..whole.len() {
            fs::write(path.join(file), &whole[..length]).unwrap();
            assert!(checkpoints.last().is_err(), "{file} of {length} bytes");
        }
        fs::remove_file(path.join(file)).unwrap();
        assert!(checkpoints.last().is_err(), "without {file}");
        fs::write(path.join(file), &whole).unwrap();
    }
    // Files of another step.
    let other = checkpoints.save(&snapshot(1), false).unwrap();
    fs::copy(other.join(STATE), path.join(STATE)).unwrap();
    let found = checkpoints.last().unwrap().unwrap();
    assert_eq!(found.snapshot, snapshot(1));
    assert!(found.damaged[0].to_string().contains("SHA-256"), "{}", found.damaged[0]);
    // Saving that step again mends it.
    checkpoints.save(&snapshot(2), false).unwrap();
    assert_eq!(checkpoints.last().unwrap().unwrap().snapshot, snapshot(2));
}

#[test]
fn k03_another_version_says_which() {
    let folder = tempfile::tempdir().unwrap();
    let checkpoints = Checkpoints::open(folder.path()).unwrap();
    let path = checkpoints.save(&snapshot(2), false).unwrap().join(MANIFEST);
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["format"] = json!(2);
    fs::write(&path, seal(&manifest)).unwrap();
    let error = checkpoints.last().unwrap_err().to_string();
    assert!(error.contains("has format 2") && error.contains("reads 1"), "{error}");
}

#[test]
fn k14_k15_what_a_killed_process_left_is_removed_and_a_dangling_name_means_none() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".nerve-1-0.tmp")).unwrap();
    fs::write(folder.path().join(".nerve-1-0.tmp/state.safetensors"), "half").unwrap();
    let checkpoints = Checkpoints::open(folder.path()).unwrap();
    assert_eq!(names(&checkpoints), [] as [&str; 0]);
    for name in ["step-000000009-epoch-0001", "../..", "", "step-x"] {
        fs::write(folder.path().join(BEST), name).unwrap();
        assert_eq!(checkpoints.best(), None, "{name}");
    }
}

#[test]
fn k11_a_folder_that_cannot_be_written_is_an_error_with_its_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = Checkpoints::open(folder.path().join("file")).unwrap_err().to_string();
    assert!(error.contains("file") && error.contains("cannot create"), "{error}");
}
