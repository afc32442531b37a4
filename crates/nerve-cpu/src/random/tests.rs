//! The cipher against the known answers of its authors, and golden values of our layout.

use super::*;
use crate::fused::{normal_on, uniform_on};
use crate::real::testing::isas;

/// From the file `kat_vectors` of the Random123 library.
#[test]
fn known_answers_of_the_cipher() {
    assert_eq!(philox([0; 4], [0; 2]), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
    assert_eq!(
        philox([u32::MAX; 4], [u32::MAX; 2]),
        [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]
    );
    assert_eq!(
        philox([0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344], [0xA409_3822, 0x299F_31D0]),
        [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]
    );
}

struct Golden {
    key: Key,
    /// Uniform numbers in units of 2⁻²⁴ and of 2⁻⁵³.
    uniform_f32: [u32; 6],
    uniform_f64: [u64; 4],
    normal_f32: [f64; 6],
    normal_f64: [f64; 4],
}

/// Computed by an independent program of twenty lines from the description in the module.
const GOLDEN: [Golden; 3] = [
    Golden {
        key: Key::new(0, 0, 0),
        uniform_f32: [6694888, 14772677, 12343212, 10158299, 16311500, 6074880],
        uniform_f64: [7931020870206717, 5453695703026421, 3261426827205785, 334113776481454],
        normal_f32: [0.9911375, -0.9246628, -0.6176091, -0.4820684, -0.1536382, 0.1808259],
        normal_f64: [-0.397667538444182, -0.310395478801738, 1.386844427102838, 0.329213200192143],
    },
    Golden {
        key: Key::new(42, 7, 1000),
        uniform_f32: [12834288, 11648260, 2374352, 7412836, 11785888, 4847159],
        uniform_f64: [6253612134595262, 3979736271587162, 2602298919779028, 906310640912308],
        normal_f32: [-0.2510194, -0.6875988, -1.8469443, 0.7066758, -0.2034307, 0.8153856],
        normal_f64: [-0.797835814491279, 0.305266909390036, 1.271255768313648, 0.931217811538288],
    },
    Golden {
        key: Key::new(0xDEAD_BEEF_1234_5678, 3, 0x12_3456_789A),
        uniform_f32: [15143168, 11635328, 562823, 1248058, 15683948, 15313768],
        uniform_f64: [6246669368484384, 670046082896592, 8221516634122797, 526095309197958],
        normal_f32: [-0.1573047, -0.4244994, 2.3262036, 1.1740523, 0.3133377, -0.1912785],
        normal_f64: [0.763776110339663, 0.385483542424415, 0.398796119305231, 0.153299086514935],
    },
];

#[test]
fn golden_values() {
    for Golden { key, uniform_f32, uniform_f64, normal_f32, normal_f64 } in GOLDEN {
        for (i, golden) in uniform_f32.into_iter().enumerate() {
            assert_eq!(key.uniform_f32(i as u64), golden as f32 / (1 << 24) as f32);
        }
        for (i, golden) in uniform_f64.into_iter().enumerate() {
            assert_eq!(key.uniform_f64(i as u64), golden as f64 / (1u64 << 53) as f64);
        }
        for (i, golden) in normal_f32.into_iter().enumerate() {
            assert!((key.normal_f32(i as u64) as f64 - golden).abs() < 1e-6);
        }
        for (i, golden) in normal_f64.into_iter().enumerate() {
            assert!((key.normal_f64(i as u64) - golden).abs() < 1e-14);
        }
    }
}

#[test]
fn words_carry_seed_and_step() {
    let key = Key::new(0xDEAD_BEEF_1234_5678, 3, 0x12_3456_789A);
    let words = [0x1234_5678, 0xDEAD_BEEF, 0x3456_789A, 0x12];
    assert_eq!(Key::from_words(words, 3), key);
    // Each of seed, stream and step chooses other numbers.
    let others = [Key::new(1, 3, 5), Key::new(2, 3, 5), Key::new(1, 4, 5), Key::new(1, 3, 6)];
    let first: Vec<_> = others.iter().map(|key| key.block(9)).collect();
    assert!((1..4).all(|i| first[i] != first[0]));
}

/// Runs give the same bits as single numbers, on every instruction set, wherever they start.
#[test]
fn runs_agree_with_single_numbers() {
    let key = Key::new(99, 1, 1 << 40);
    for isa in isas() {
        for (first, len) in
            [(0, 1000), (3, 130), (61, 7), ((1 << 34) + 5, 64), ((1 << 34) - 70, 200), (130, 0)]
        {
            let mut f = vec![0.0f32; len];
            let mut d = vec![0.0f64; len];
            uniform_on(isa, &mut f, key, first);
            uniform_on(isa, &mut d, key, first);
            for i in 0..len {
                assert_eq!(f[i].to_bits(), key.uniform_f32(first + i as u64).to_bits());
                assert_eq!(d[i].to_bits(), key.uniform_f64(first + i as u64).to_bits());
            }
            normal_on(isa, &mut f, key, first);
            normal_on(isa, &mut d, key, first);
            for i in 0..len {
                assert_eq!(f[i].to_bits(), key.normal_f32(first + i as u64).to_bits());
                assert_eq!(d[i].to_bits(), key.normal_f64(first + i as u64).to_bits());
            }
        }
    }
}

/// Mean, variance, fourth moment and neighbours' correlation of a million numbers, within five
/// standard errors.
#[test]
fn moments() {
    const N: usize = 1 << 20;
    let key = Key::new(12345, 0, 1);
    let mut x = vec![0.0f32; N];
    let n = N as f64;
    let mean = |f: &dyn Fn(usize) -> f64| (0..N - 1).map(f).sum::<f64>() / n;
    let close = |value: f64, expected: f64, deviation: f64| {
        assert!((value - expected).abs() < 5.0 * deviation / n.sqrt(), "{value}, not {expected}");
    };
    uniform_on(crate::isa(), &mut x, key, 0);
    assert!(x.iter().all(|x| (0.0..1.0).contains(x)));
    close(mean(&|i| x[i] as f64), 0.5, 0.289);
    close(mean(&|i| (x[i] as f64 - 0.5).powi(2)), 1.0 / 12.0, 0.075);
    close(mean(&|i| (x[i] as f64 - 0.5) * (x[i + 1] as f64 - 0.5)), 0.0, 1.0 / 12.0);
    close(mean(&|i| key.bernoulli(i as u64, 0.3) as u8 as f64), 0.3, 0.46);
    normal_on(crate::isa(), &mut x, key, 0);
    close(mean(&|i| x[i] as f64), 0.0, 1.0);
    close(mean(&|i| (x[i] as f64).powi(2)), 1.0, 1.42);
    close(mean(&|i| (x[i] as f64).powi(4)), 3.0, 9.8);
    close(mean(&|i| x[i] as f64 * x[i + 1] as f64), 0.0, 1.0);
}
