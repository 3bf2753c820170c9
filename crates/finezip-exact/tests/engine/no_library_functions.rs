//! No function of a platform's mathematics library, and no instruction whose result depends on
//! the processor or the compiler, may enter the engine's sources.

use std::fs;
use std::path::{Path, PathBuf};

/// Method names of `f32` and `f64` that are not IEEE basic operations, and intrinsics that
/// contract or approximate.
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
    "fmadd",
    "fmsub",
    "fnmadd",
    "fnmsub",
    "rsqrt",
    "_rcp",
    "algebraic",
    "fast_math",
    "fadd_fast",
    "fmul_fast",
    "_dpbf16",
    "vfmaq",
    "vrecpe",
    "libm",
];

/// Single files of other crates that decide bits.
const ELSEWHERE: [&str; 3] = [
    "finezip-core/src/softmax.rs",
    "finezip-lora/src/adapter/merge.rs",
    "finezip-models/src/config/mod.rs",
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
    sources(&crates.join("finezip-exact/src"), &mut files);
    for folder in ["finezip-models/src/dequantize", "finezip-mixer/src"] {
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
    assert!(found("let y = _mm256_fmadd_ps(a, b, c);"));
    assert!(!found("// x.exp() is not used"));
    assert!(!found("#[cfg(test)]\nmod tests { fn f(x: f32) -> f32 { x.exp() } }"));
    assert!(found("#[cfg(test)]\nmod tests;\nlet y = x.exp();"));
}
