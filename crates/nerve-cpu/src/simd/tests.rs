use super::*;

#[test]
fn the_environment_can_lower_the_choice_but_not_raise_it() {
    assert_eq!(choose(None, Isa::Avx512), Ok(Isa::Avx512));
    assert_eq!(choose(Some(""), Isa::Avx2), Ok(Isa::Avx2));
    assert_eq!(choose(Some("portable"), Isa::Avx512), Ok(Isa::Portable));
    assert_eq!(choose(Some("avx2"), Isa::Avx512), Ok(Isa::Avx2));
    assert!(choose(Some("avx512"), Isa::Avx2).unwrap_err().contains("no more than avx2"));
    assert!(choose(Some("sse9"), Isa::Avx512).unwrap_err().contains("sse9"));
}

#[test]
fn poorer_instruction_sets_are_available_too() {
    assert!(Isa::Portable.available());
    assert!(isa().available());
    assert!(!Isa::Avx512.available() || Isa::Avx2.available());
}

/// Runs every method of `V` on small numbers, whose results are exact in any rounding.
#[inline(always)]
unsafe fn exercise<V: Vector>(number: impl Fn(i32) -> V::Elem + Copy) {
    let n = V::LANES;
    let a: Vec<_> = (0..n as i32).map(number).collect();
    let b: Vec<_> = (0..n as i32).map(|i| number(3 - i)).collect();
    let mut out = vec![number(-77); n];
    // SAFETY: the vectors hold `LANES` values; masks are shorter.
    unsafe {
        let (va, vb) = (V::load(a.as_ptr()), V::load(b.as_ptr()));
        V::zero().fma(va, vb).add(V::splat(number(2))).store(out.as_mut_ptr());
        assert!((0..n).all(|i| out[i] == a[i] * b[i] + number(2)));
        va.max(vb).store(out.as_mut_ptr());
        assert!((0..n).all(|i| out[i] == if a[i] > b[i] { a[i] } else { b[i] }));
        assert_eq!(va.sum(), number((n * (n - 1) / 2) as i32));
        for lanes in 0..=n {
            let short = &a[..lanes];
            let v = V::load_masked(short.as_ptr(), V::mask(lanes));
            v.store(out.as_mut_ptr());
            assert!((0..n).all(|i| out[i] == if i < lanes { a[i] } else { number(0) }));
            out.fill(number(-77));
            vb.store_masked(out.as_mut_ptr(), V::mask(lanes));
            assert!((0..n).all(|i| out[i] == if i < lanes { b[i] } else { number(-77) }));
        }
        for (rows, columns, filled) in [(n, n, n), (1, n, n), (n - 1, n - 1, n), (n - 1, 2, n - 1)]
        {
            let stride = n + 3;
            let block: Vec<_> = (0..((rows - 1) * stride + columns) as i32).map(number).collect();
            let mut turned = vec![number(-77); columns * stride];
            let to = turned.as_mut_ptr();
            V::transpose(block.as_ptr(), stride, [rows, columns], to, stride, filled);
            for (i, &value) in turned.iter().enumerate() {
                let (c, r) = (i / stride, i % stride);
                let expected = match r {
                    _ if r < rows => block[r * stride + c],
                    _ if r < filled => number(0),
                    _ => number(-77),
                };
                assert_eq!(value, expected, "row {r}, column {c} of {rows} by {columns}");
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn exercise_avx512() {
    // SAFETY: the features are enabled here.
    unsafe {
        exercise::<Avx512F32>(|i| i as f32);
        exercise::<Avx512F64>(f64::from);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn exercise_avx2() {
    // SAFETY: the features are enabled here.
    unsafe {
        exercise::<Avx2F32>(|i| i as f32);
        exercise::<Avx2F64>(f64::from);
    }
}

#[test]
fn vectors_do_what_they_say() {
    // SAFETY: the portable vectors need nothing; the others are asked for first.
    unsafe {
        exercise::<Portable32>(|i| i as f32);
        exercise::<Portable64>(f64::from);
        #[cfg(target_arch = "x86_64")]
        {
            if Isa::Avx2.available() {
                exercise_avx2();
            }
            if Isa::Avx512.available() {
                exercise_avx512();
            }
        }
    }
}

#[test]
fn an_opaque_pointer_is_the_same_one() {
    let values = [1.0f32, 2.0];
    for value in &values {
        assert!(std::ptr::eq(opaque(value), value));
    }
}
