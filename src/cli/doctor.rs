//! `spanqa doctor`: the facts that a bug report needs.

use std::io::Write;

use anyhow::Result;
use serde_json::{Map, Value, json};
use spanqa::encoder::{Cards, DeviceChoice, device_problem};
use spanqa::source::SourceOptions;

use super::{Outcome, terminal, version};

#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Environment variables that change what spanqa does.
const VARIABLES: [&str; 20] = [
    "SPANQA_MODEL",
    "SPANQA_REGISTRY",
    "SPANQA_FORMAT",
    "SPANQA_CPU",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "XDG_CACHE_HOME",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "RAYON_NUM_THREADS",
    "CUDA_VISIBLE_DEVICES",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
];

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    let facts = facts();
    if args.json {
        let object: Map<String, Value> =
            facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        serde_json::to_writer_pretty(&mut *out, &object)?;
        writeln!(out)?;
    } else {
        for (name, value) in facts {
            print(out, name, &value)?;
        }
    }
    Ok(Outcome::Success)
}

fn print(out: &mut dyn Write, name: &str, value: &Value) -> Result<()> {
    match value {
        Value::Object(entries) if entries.is_empty() => writeln!(out, "{name}: none set")?,
        Value::Object(entries) => {
            writeln!(out, "{name}:")?;
            for (name, value) in entries {
                writeln!(out, "  {name}: {}", terminal::name(&plain(value)))?;
            }
        }
        _ => writeln!(out, "{name}: {}", terminal::name(&plain(value)))?,
    }
    Ok(())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn facts() -> Vec<(&'static str, Value)> {
    let options = SourceOptions::from_env();
    let offline = options.offline || options.hub.offline;
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cache = match options.hub.cache_dir() {
        Ok(folder) => folder.display().to_string(),
        Err(error) => format!("none: {error}"),
    };
    let registry = |path: &Option<std::path::PathBuf>| match path {
        Some(path) if path.is_file() => path.display().to_string(),
        Some(path) => format!("{} (not there)", path.display()),
        None => "none".into(),
    };
    let environment: Map<String, Value> =
        VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), shown(name)?.into()))).collect();
    let devices: Map<String, Value> =
        [DeviceChoice::Cpu, DeviceChoice::Cuda(Cards::default()), DeviceChoice::Metal]
            .into_iter()
            .map(|device| {
                let state =
                    device_problem(device).map_or("usable".to_owned(), |why| format!("not usable: {why}"));
                (device.to_string(), state.into())
            })
            .collect();
    let processor = json!({
        "cores": cores,
        "matrix kernels": version::kernels(),
        "instructions": instructions(),
    });
    let network =
        if offline { "never used" } else { "used only to fetch a model that is not on this machine" };
    let hub = json!({
        "endpoint": without_secrets("HF_ENDPOINT", &options.hub.endpoint),
        "cache": cache,
        "token": if options.hub.token.is_some() { "set" } else { "not set" },
        "network": network,
    });
    let registries = json!({
        "user": registry(&options.user_registry),
        "SPANQA_REGISTRY": registry(&options.registry),
    });
    vec![
        ("spanqa", env!("CARGO_PKG_VERSION").into()),
        ("built for", version::devices().into()),
        ("features", version::features().into()),
        ("system", format!("{} {}", std::env::consts::OS, std::env::consts::ARCH).into()),
        ("processor", processor),
        ("devices", devices.into()),
        ("hub", hub),
        ("registries", registries),
        ("environment", environment.into()),
    ]
}

/// The value of a variable that is set; secrets are not shown.
fn shown(name: &str) -> Option<String> {
    let value = std::env::var_os(name)?.to_string_lossy().into_owned();
    Some(if name == "HF_TOKEN" { "set (not shown)".into() } else { without_secrets(name, &value) })
}

/// An address without the user, the password and the query that it may hold. Other values stay as they are.
fn without_secrets(name: &str, value: &str) -> String {
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        // Proxies are also written without a scheme.
        None if name.ends_with("_PROXY") => (String::new(), value),
        None => return value.to_owned(),
    };
    let (address, query) = match rest.split_once('?') {
        Some((address, _)) => (address, "?***"),
        None => (rest, ""),
    };
    // The last one: a password that nobody encoded may hold `@` and `/` itself.
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}***@{}", host.split('?').next().unwrap_or_default()) + query,
        None => scheme + address + query,
    }
}

/// Vector instructions of this processor that numerical code uses.
fn instructions() -> String {
    #[cfg(target_arch = "x86_64")]
    let found: Vec<&str> = [
        ("sse4.2", std::arch::is_x86_feature_detected!("sse4.2")),
        ("avx", std::arch::is_x86_feature_detected!("avx")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        ("avx512bw", std::arch::is_x86_feature_detected!("avx512bw")),
        ("avx512vnni", std::arch::is_x86_feature_detected!("avx512vnni")),
        ("avxvnni", std::arch::is_x86_feature_detected!("avxvnni")),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect();
    #[cfg(target_arch = "aarch64")]
    let found: Vec<&str> = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("dotprod", std::arch::is_aarch64_feature_detected!("dotprod")),
        ("i8mm", std::arch::is_aarch64_feature_detected!("i8mm")),
        ("fp16", std::arch::is_aarch64_feature_detected!("fp16")),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect();
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let found: Vec<&str> = Vec::new();
    if found.is_empty() { "none of note".into() } else { found.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::without_secrets;

    #[test]
    fn no_password_is_shown() {
        for (name, value, shown) in [
            ("HF_ENDPOINT", "https://me:pw@host", "https://***@host"),
            ("HF_ENDPOINT", "https://pw@host:8080/a/b", "https://***@host:8080/a/b"),
            ("HF_ENDPOINT", "https://me:p@/w@host/a", "https://***@host/a"),
            ("HF_ENDPOINT", "https://host/a?token=pw", "https://host/a?***"),
            ("HF_ENDPOINT", "https://me:p?w@host/a?token=pw", "https://***@host/a?***"),
            ("HF_ENDPOINT", "https://huggingface.co", "https://huggingface.co"),
            ("HTTPS_PROXY", "http://me:pw@proxy:3128", "http://***@proxy:3128"),
            ("ALL_PROXY", "me:pw@proxy:3128", "***@proxy:3128"),
            ("ALL_PROXY", "socks5://proxy:1080", "socks5://proxy:1080"),
            ("NO_PROXY", "localhost,.example", "localhost,.example"),
            ("SPANQA_MODEL", "owner/name@v1", "owner/name@v1"),
            ("SPANQA_REGISTRY", "https://me:pw@host/models.toml", "https://***@host/models.toml"),
        ] {
            assert_eq!(without_secrets(name, value), shown);
        }
    }
}
