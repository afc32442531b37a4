//! What a name that is missing was perhaps called.

use nerve_formats::spec::nearest;

/// A tensor of a state: its name and its shape.
type Named<'a> = (&'a str, &'a [usize]);

/// More tensors than this are not compared with each other.
const MOST: usize = 4096;

/// The tensor that was most likely meant: of the same shape, with the most parts of the name, counted
/// from its end, the same; or one whose name is nearly the same.
pub(super) fn tensor<'a>(name: &str, shape: &[usize], left: &[Named<'a>]) -> Option<&'a str> {
    let left = &left[..left.len().min(MOST)];
    let parts = |candidate: &str| {
        let pairs = name.rsplit('.').zip(candidate.rsplit('.'));
        pairs.take_while(|(a, b)| a == b).count()
    };
    // `weight` alone says nothing.
    let alike = |candidate: &&str| parts(candidate) >= 2;
    let fitting = || left.iter().filter(|(_, own)| *own == shape).map(|&(name, _)| name);
    let best = fitting().filter(alike).max_by_key(|candidate| parts(candidate));
    best.or_else(|| nearest(name, fitting()))
}

/// A renaming that finds most of what is missing: all names have something before them here or there.
pub(super) fn renaming(missing: &[&str], left: &[Named<'_>]) -> Option<(String, String)> {
    if missing.len() < 2 || left.len() > MOST {
        return None;
    }
    let found = |from: &str, to: &str| {
        let here = |name: &str| name.strip_prefix(from).map(|rest| format!("{to}{rest}"));
        let mut here: Vec<String> = left.iter().filter_map(|(name, _)| here(name)).collect();
        here.sort_unstable();
        missing
            .iter()
            .filter(|name| here.binary_search_by(|own| own.as_str().cmp(name)).is_ok())
            .count()
    };
    // The prefixes by which the first few that are missing differ from those that end like them.
    let mut best: Option<(usize, String, String)> = None;
    for name in missing.iter().take(4) {
        for (own, _) in left {
            let prefixes = match (own.strip_suffix(name), name.strip_suffix(own)) {
                (Some(prefix), _) => (prefix, ""),
                (_, Some(prefix)) => ("", prefix),
                _ => continue,
            };
            let count = found(prefixes.0, prefixes.1);
            if best.as_ref().is_none_or(|(most, ..)| count > *most) {
                best = Some((count, prefixes.0.to_string(), prefixes.1.to_string()));
            }
        }
    }
    let (count, from, to) = best.filter(|(count, ..)| 2 * count > missing.len())?;
    debug_assert!(count > 0);
    Some((format!("{from}*"), format!("{to}*")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_meant() {
        let left: [Named<'_>; 4] = [
            ("model.fc1.weight", &[2, 3]),
            ("model.fc1.bias", &[2]),
            ("model.fc2.weight", &[2, 3]),
            ("fc3.weigth", &[4]),
        ];
        assert_eq!(tensor("fc1.weight", &[2, 3], &left), Some("model.fc1.weight"));
        assert_eq!(tensor("fc1.weight", &[3, 2], &left), None);
        assert_eq!(tensor("fc3.weight", &[4], &left), Some("fc3.weigth"));
        assert_eq!(tensor("other.weight", &[2, 3], &left), None);
        let missing = ["fc1.weight", "fc1.bias", "fc2.weight", "fc3.weight"];
        assert_eq!(renaming(&missing, &left), Some(("model.*".into(), "*".into())));
        let missing = ["net.model.fc1.weight", "net.model.fc1.bias"];
        assert_eq!(renaming(&missing, &left), Some(("*".into(), "net.*".into())));
        assert_eq!(renaming(&["a.weight", "b.weight"], &left), None);
    }
}
