//! The promise of the README: the network learns the digits, and the same seed gives the same
//! bits whatever the number of threads.

#[path = "../examples/mnist.rs"]
#[allow(dead_code)] // Its `main` is not called here.
mod lesson;

#[test]
fn recognises_99_percent_and_threads_do_not_change_a_bit() {
    let train = |threads| {
        nerve::core::set_threads(threads);
        let (accuracy, params) = lesson::train(5, &mut []).expect("the digits are in data/mnist");
        (accuracy, params.state())
    };
    let (accuracy, state) = train(2);
    assert!(accuracy >= 0.99, "{accuracy} of the test images recognised");
    let (again, same) = train(1);
    assert_eq!(accuracy, again);
    assert!(state == same, "one thread gives other parameters than two");
}
