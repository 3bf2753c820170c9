//! A model as a user names it.

use std::path::{Path, PathBuf};

use super::{CatalogEntry, named};
use crate::error::Result;

/// Where a model comes from.
#[derive(Clone, Debug)]
pub enum ModelChoice {
    /// An entry of the catalog.
    Named(&'static CatalogEntry),
    /// A GGUF file or a folder with safetensors, whether or not anything lies there.
    At(PathBuf),
}

impl ModelChoice {
    /// A path if it is written like one (with a separator, or with the ending `.gguf`), else a name
    /// of the catalog, else a path if something lies there: what happens to lie in the folder that one
    /// stands in is not taken for a model of the catalog.
    ///
    /// # Errors
    /// [`Error::UnknownModel`](crate::Error::UnknownModel) for a name that is not in the catalog.
    pub fn new(text: &str) -> Result<Self> {
        let path = Path::new(text);
        let written_like_a_path = path.components().count() > 1
            || path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
        match written_like_a_path {
            true => Ok(Self::At(path.to_owned())),
            false => choose(text, path.exists()),
        }
    }
}

/// What is not written like a path.
fn choose(text: &str, lies_there: bool) -> Result<ModelChoice> {
    match named(text) {
        Err(_) if lies_there => Ok(ModelChoice::At(text.into())),
        named => named.map(ModelChoice::Named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn paths_are_told_from_names() {
        // The tests run in the crate's folder.
        for path in ["models/a", "./smollm2-135m", "/smollm2-135m", "a.gguf", "A.GGUF", "src"] {
            let choice = ModelChoice::new(path);
            assert!(
                matches!(&choice, Ok(ModelChoice::At(at)) if at == Path::new(path)),
                "{path}: {choice:?}"
            );
        }
        let named = ModelChoice::new("smollm2-135m");
        assert!(matches!(&named, Ok(ModelChoice::Named(entry)) if entry.name == "smollm2-135m"));
    }

    /// A run's folder, say, that is called like its model.
    #[test]
    fn what_is_called_like_a_model_is_not_taken_for_it() {
        assert!(matches!(choose("smollm2-135m", true), Ok(ModelChoice::Named(_))));
        assert!(matches!(choose("a-folder", true), Ok(ModelChoice::At(_))));
        assert!(choose("a-folder", false).is_err());
    }

    #[test]
    fn an_unknown_name_is_answered_with_those_that_are_known() {
        for name in ["smollm3", "smollm2-135m.bin", ""] {
            let error = ModelChoice::new(name).unwrap_err();
            assert!(matches!(&error, Error::UnknownModel { name: found, .. } if found == name));
            assert!(error.to_string().contains("smollm2-135m, "), "{error}");
        }
    }
}
