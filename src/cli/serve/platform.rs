//! What the services that run containers say in the environment.

use std::env;
use std::path::Path;

use anyhow::Result;

use crate::cli::Usage;

/// What can be asked here.
const TASK: &str = "question-answering";

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The port: PORT is set by Cloud Run, Heroku and others, AIP_HTTP_PORT by Vertex, SAGEMAKER_BIND_TO_PORT by SageMaker for several
/// containers.
pub fn port() -> Result<u16> {
    for name in ["PORT", "AIP_HTTP_PORT", "SAGEMAKER_BIND_TO_PORT"] {
        if let Some(value) = variable(name) {
            return value.parse().map_err(|_| {
                Usage::new(format!("{name} is `{value}`, which is no port"), "unset it, or give --port")
                    .into()
            });
        }
    }
    Ok(8080)
}

/// The model: HF_MODEL_ID is what containers of Hugging Face, on SageMaker and elsewhere, are told.
pub fn model() -> Result<String> {
    if let Some(task) = variable("HF_TASK").filter(|task| task != TASK) {
        let what = format!("HF_TASK is `{task}`, and models here do {TASK}");
        return Err(Usage::new(what, "unset it, or set it to question-answering").into());
    }
    Ok(variable("HF_MODEL_ID").unwrap_or_else(|| "builtin".into()))
}

/// What a model is called in paths: the last part of its name.
pub fn short_name(model: &str) -> String {
    let name = model.split('@').next().unwrap_or(model);
    let last = Path::new(name).file_name().map(|name| name.to_string_lossy().into_owned());
    last.unwrap_or_else(|| name.to_owned())
}

/// Paths for predictions and for probes, as Vertex sets them.
pub fn routes() -> (Vec<String>, Vec<String>) {
    let of = |name: &str| variable(name).into_iter().collect();
    (of("AIP_PREDICT_ROUTE"), of("AIP_HEALTH_ROUTE"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_called_by_their_last_name() {
        let shown =
            [("roberta", "roberta"), ("deepset/tinyroberta-squad2@v1", "tinyroberta-squad2"), ("./m/", "m")];
        for (model, name) in shown {
            assert_eq!(short_name(model), name);
        }
    }
}
