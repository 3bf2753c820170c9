//! No function of a platform's mathematics library, and no instruction whose result depends on
//! the processor or the compiler, may enter the engine's sources.

use std::fs;
use std::path::{Path, PathBuf};

/// Functions of `f32` and `f64` that are not IEEE basic operations, as methods and by their paths,
/// and intrinsics that contract, approximate or add up in an order of their own.
const FORBIDDEN: &[&str] = &[
    ".exp(",
    ".exp2(",
    ".exp_m1(",
    ".ln(",
    ".ln_1p(",
    ".log(",
    ".log2(",
    ".log10(",
    ".powf(",
    ".powi(",
    ".sin(",
    ".cos(",
    ".tan(",
    ".sin_cos(",
    ".sinh(",
    ".cosh(",
    ".tanh(",
    ".asin(",
    ".acos(",
    ".atan(",
    ".atan2(",
    ".asinh(",
    ".acosh(",
    ".atanh(",
    ".cbrt(",
    ".hypot(",
    ".mul_add(",
    ".gamma(",
    ".ln_gamma(",
    ".erf(",
    ".erfc(",
    "f32::exp",
    "f64::exp",
    "f32::ln",
    "f64::ln",
    "f32::sin",
    "f64::sin",
    "f32::cos",
    "f64::cos",
    "f32::tan",
    "f64::tan",
    "f32::asin",
    "f64::asin",
    "f32::acos",
    "f64::acos",
    "f32::atan",
    "f64::atan",
    "f32::log",
    "f64::log",
    "f32::pow",
    "f64::pow",
    "f32::cbrt",
    "f64::cbrt",
    "f32::hypot",
    "f64::hypot",
    "f32::mul_add",
    "f64::mul_add",
    "f32::gamma",
    "f64::gamma",
    "f32::erf",
    "f64::erf",
    "intrinsics::",
    "fmadd",
    "fmsub",
    "fnmadd",
    "fnmsub",
    "rsqrt",
    "_rcp",
    "reduce_add_p",
    "reduce_mul_p",
    "algebraic",
    "fast_math",
    "fadd_fast",
    "fmul_fast",
    "_dpbf16",
    "vfma",
    "vfms",
    "vfml",
    "vcmla",
    "vmla_",
    "vmlaq",
    "vmls_",
    "vmlsq",
    "vaddv_f",
    "vaddvq_f",
    "vrecp",
    "libm",
];

/// Single files of other crates that decide bits.
const ELSEWHERE: [&str; 3] = [
    "finezip-core/src/softmax.rs",
    "finezip-lora/src/adapter/merge.rs",
    // Adds the one that gains of some files lack.
    "finezip-models/src/checkpoint.rs",
];

/// Folders that do: the engine, values of stored weights and scales of the model's numbers, and
/// the mixer of predictions.
const FOLDERS: [&str; 4] = [
    "finezip-exact/src",
    "finezip-models/src/config",
    "finezip-models/src/dequantize",
    "finezip-mixer/src",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path.ends_with("tests.rs")
        {
            found.push(path);
        }
    }
}

/// The code of a source: without its module of tests (which stands last) and without comments.
fn code(source: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    source[..end].lines().map(|line| line.split("//").next().unwrap_or_default()).enumerate()
}

#[test]
fn sources_hold_none() {
    let mut files = Vec::new();
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for folder in FOLDERS {
        sources(&crates.join(folder), &mut files);
    }
    assert!(files.len() > 20, "sources found: {}", files.len());
    // What other crates compute with the weights, the logits and the mixer's numbers.
    files.extend(ELSEWHERE.map(|path| crates.join(path)));
    let mut wrong = Vec::new();
    for file in files {
        let source = fs::read_to_string(&file).unwrap();
        for (number, line) in code(&source) {
            for word in FORBIDDEN.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_scan_finds_what_it_looks_for() {
    let found = |source: &str| {
        code(source).any(|(_, line)| FORBIDDEN.iter().any(|word| line.contains(word)))
    };
    assert!(found("let y = x.exp();"));
    assert!(found("let y = xs.map(f32::atanh);"));
    assert!(found("let y = f32::mul_add(a, b, c);"));
    assert!(found("let y = f64::log(x, 2.0);"));
    assert!(found("let y = xs.map(f32::hypot);"));
    assert!(found("let y = vmlaq_f32(a, b, c);"));
    assert!(found("let y = vfmsq_f32(a, b, c);"));
    assert!(!found("let y = vmlal_s8(a, b, c);"));
    assert!(found("let y = _mm256_fmadd_ps(a, b, c);"));
    assert!(!found("// x.exp() is not used"));
    assert!(!found("#[cfg(test)]\nmod tests { fn f(x: f32) -> f32 { x.exp() } }"));
    assert!(found("#[cfg(test)]\nmod tests;\nlet y = x.exp();"));
}
