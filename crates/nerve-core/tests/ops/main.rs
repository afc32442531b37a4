//! Every operation, from one table of calls with sample inputs: first and second derivatives in
//! f64 against differences, values against a reference, f32 against f64, compiled against not,
//! and the errors.

mod check;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod table;

use std::collections::BTreeSet;

/// Every operation of the enum occurs in some graph of the table, forward or backward.
#[test]
fn the_table_is_complete() {
    let mut seen = BTreeSet::new();
    for case in table::cases() {
        check::operations(&case, &mut seen);
    }
    let missing: Vec<_> = nerve_core::Op::NAMES.iter().filter(|n| !seen.contains(**n)).collect();
    // Arguments exist only inside a compiled function, and every case is compiled too; the forms of
    // filters and weights are the compiler's own choice.
    assert_eq!(
        missing,
        [&"Argument", &"ReadVar", &"Panels", &"WinogradFilter", &"FilterPanels"],
        "operations that no case of the table uses"
    );
}

/// Runs a check on every case, and reports all that fail.
#[track_caller]
fn each(check: fn(&table::Case)) {
    let mut failures = Vec::new();
    for case in table::cases() {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&case)));
        if let Err(payload) = result {
            let text = payload.downcast_ref::<String>().cloned();
            failures.push(format!("{}\n    {}", case.name, text.unwrap_or_default()));
        }
    }
    assert!(failures.is_empty(), "{} cases fail:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn values_agree_with_the_reference() {
    each(check::values_agree);
}

#[test]
fn compiled_equals_evaluated_bit_for_bit() {
    each(check::compiled_equals_evaluated);
}

#[test]
fn gradients_are_those_of_differences() {
    each(check::first_order);
}

#[test]
fn second_gradients_are_those_of_differences() {
    each(check::second_order);
}

#[test]
fn single_precision_follows_double() {
    each(check::single_follows_double);
}

#[test]
fn what_has_no_gradient_says_so() {
    each(check::refuses_gradient);
}
