//! Convolutions whose products round their operands to bf16.

use super::*;

/// A convolution and its weight gradient, by one of the algorithms.
struct Case {
    shape: ConvShape,
    isa: Isa,
    precision: Precision,
    winograd: bool,
}

fn region(i: u32, elements: usize) -> Region {
    Region::new(i, 0, 4 * elements)
}

impl Case {
    fn forward(&self, x: &[f32], filter: &[f32]) -> Vec<f32> {
        let s = self.shape;
        let panels = most_words(&s);
        let conv = Conv {
            isa: self.isa,
            precision: self.precision,
            ..Conv::new(Float::F32, s, region(0, x.len()), region(1, filter.len()), EMPTY)
        };
        let conv = Conv { y: region(2, s.results()), ..conv };
        let [x, filter] = [x, filter].map(Buffer::from_slice);
        let [y, panel_buffer] = [s.results(), panels].map(|n| Buffer::zeroed(4 * n));
        let buffers = [&x, &filter, &y, &panel_buffer];
        if self.winograd {
            let strides = [3 * s.c * s.co, s.c * s.co, s.co, 1].map(|n| n as isize);
            let to = region(3, panels);
            run_alone(&conv.winograd_filter(region(1, s.filter()), 0, strides, to), &buffers);
            run_alone(&conv.with_winograd(to), &buffers);
        } else {
            run_alone(&conv, &buffers);
            self.packed(conv, &buffers);
        }
        y.to_vec(0..s.results())
    }

    /// The same convolution with its filter packed before gives the same bits.
    fn packed(&self, conv: Conv, [x, filter, y, _]: &[&Buffer; 4]) {
        let Some(bytes) = conv.packed_bytes() else { return };
        let before = y.to_vec::<f32>(0..self.shape.results());
        let panels = Buffer::zeroed(bytes);
        let (again, to) = (Buffer::zeroed(y.bytes()), Region::new(3, 0, bytes));
        let buffers = [*x, *filter, &again, &panels];
        run_alone(&conv.pack_filter(to), &buffers);
        run_alone(&Conv { filter: EMPTY, ..conv }.with_packed(to), &buffers);
        assert_eq!(again.to_vec::<f32>(0..before.len()), before, "{:?}", self.shape);
    }

    fn gradient(&self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let s = self.shape;
        let (isa, precision, winograd) = (self.isa, self.precision, self.winograd);
        let new =
            ConvWeightGrad::new(Float::F32, s, region(0, x.len()), region(1, dy.len()), EMPTY);
        let grad = ConvWeightGrad { isa, precision, winograd, ..new };
        let (parts, len) = (grad.parts(), s.filter());
        let grad = ConvWeightGrad { dw: region(2, parts * len), ..grad };
        let [x, dy] = [x, dy].map(Buffer::from_slice);
        let [partial, dw] = [parts * len, len].map(|n| Buffer::zeroed(4 * n));
        let buffers = [&x, &dy, &partial, &dw];
        let (from, to, ty) = (region(2, parts * len), region(3, len), Float::F32);
        run_alone(&grad, &buffers);
        run_alone(&SumParts { ty, parts, len, from, to, accumulate: false }, &buffers);
        dw.to_vec(0..len)
    }
}

/// The convolution and its weight gradient in f64.
fn exact(s: &ConvShape, x: &[f32], filter: &[f32], dy: &[f32]) -> [Vec<f64>; 2] {
    let (mut y, mut dw) = (vec![0.0; s.results()], vec![0.0; s.filter()]);
    each_product(s, |i, f, o| {
        y[o] += f64::from(x[i]) * f64::from(filter[f]);
        dw[f] += f64::from(x[i]) * f64::from(dy[o]);
    });
    [y, dw]
}

fn values(count: usize, mut next: impl FnMut() -> f64) -> Vec<f32> {
    (0..count).map(|_| next() as f32).collect()
}

/// Calls `test` with each algorithm on each instruction set.
fn each_case(shape: ConvShape, mut test: impl FnMut(Case)) {
    let precision = Precision::Bf16;
    for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
        test(Case { shape, isa, precision, winograd: false });
        if shape.winograd_fits(Float::F32) {
            test(Case { shape, isa, precision, winograd: true });
        }
    }
}

/// Odd numbers of channels, tiles and pixels, several chunks, all kinds of geometry.
fn shapes() -> Vec<ConvShape> {
    let mut random = Random::new(31);
    let square = ConvShape { n: 3, h: 9, w: 8, c: 33, co: 40, pad: [[1; 2]; 2], ..PLAIN };
    let mut shapes = large_shapes();
    shapes.extend(shapes_of_few_pixels());
    shapes.extend([square, ConvShape { n: 1, h: 5, w: 5, c: 1, co: 1, ..square }]);
    shapes.extend([ConvShape { n: 30, c: 64, co: 70, ..square }]);
    shapes.extend((0..40).map(|_| random_shape(&mut random)));
    shapes
}

/// Small whole numbers, and filters of multiples of four, whose transformations are whole: nothing
/// is rounded anywhere, so any mistake shows.
#[test]
fn whole_numbers_give_exact_results() {
    let mut random = Random::new(32);
    for s in shapes() {
        let mut whole =
            |count, scale: f64| values(count, || scale * (random.below(7) as f64 - 3.0));
        let (x, filter) = (whole(s.images(), 1.0), whole(s.filter(), 4.0));
        let dy = whole(s.results(), 4.0);
        let exact = exact(&s, &x, &filter, &dy);
        each_case(s, |case| {
            let found = [case.forward(&x, &filter), case.gradient(&x, &dy)];
            for (found, exact) in found.iter().zip(&exact) {
                let differs = found.iter().zip(exact).position(|(&f, &e)| f64::from(f) != e);
                assert_eq!(differs, None, "{s:?} {:?} {}", case.isa, case.winograd);
            }
        });
    }
}

/// Errors as large as the rounding of the operands makes them. A product is off by 2⁻⁷ of itself at
/// most; Winograd's algorithm rounds sums of up to four pixels and 16 times the filter's largest
/// element (and likewise for the gradient), so its bound is 64 times the largest product. On average
/// the errors of independent terms are 5/3 of those of the direct sums.
#[test]
fn errors_are_those_of_rounding() {
    let mut random = Random::new(33);
    // Squares of errors and results, for both algorithms and both results.
    let mut squares = [[[0.0; 2]; 2]; 2];
    for s in shapes() {
        let [x, filter, dy] =
            [s.images(), s.filter(), s.results()].map(|n| values(n, || random.value()));
        let exact = exact(&s, &x, &filter, &dy);
        let terms = [s.taps() * s.group_in(), s.n * s.oh() * s.ow()];
        each_case(s, |case| {
            let found = [case.forward(&x, &filter), case.gradient(&x, &dy)];
            for i in 0..2 {
                let each = if case.winograd { 64.0 } else { 1.0 };
                let bound = terms[i] as f64 * each / 100.0;
                for (&found, &exact) in found[i].iter().zip(&exact[i]) {
                    let error = f64::from(found) - exact;
                    assert!(
                        error.abs() <= bound,
                        "{found} {exact} ± {bound}: {s:?} {:?}",
                        case.isa
                    );
                    let sum = &mut squares[usize::from(case.winograd)][i];
                    sum[0] += error * error;
                    sum[1] += exact * exact;
                }
            }
        });
    }
    for (winograd, sums) in squares.iter().enumerate() {
        for [errors, results] in sums {
            let share = (errors / results).sqrt();
            assert!(share < [3e-3, 5e-3][winograd], "{winograd}: {share}");
            assert!(share > 1e-4, "{winograd}: {share}");
        }
    }
}
