//! `--sandbox`: the kernel keeps the program to the files that it was started for. What a mistake in it, or in a library, could be made to do
//! is then bounded by somebody who does not share that mistake.

use std::path::{Path, PathBuf};

use anyhow::Result;
use spanqa::encoder::DeviceChoice;
use spanqa::source::Reference;

use super::Usage;
use super::options::{DeviceArgs, SourceArgs};

/// What may be read, and what may be written. Nothing else is, and no other machine is reached.
#[derive(Debug, Default)]
pub struct Sandbox {
    read: Vec<PathBuf>,
    write: Vec<PathBuf>,
    run: Vec<PathBuf>,
}

/// Where programs lie that make text of files, and what they read to start.
#[cfg(feature = "mcp")]
const PROGRAMS: &[&str] = &[
    "/bin",
    "/lib",
    "/lib64",
    "/nix/store",
    "/usr",
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/groff",
    "/etc/ld.so.cache",
    "/etc/manpath.config",
];

impl Sandbox {
    /// For models on that device.
    pub fn new(device: &DeviceArgs) -> Result<Self> {
        if cfg!(feature = "cuda") && device.device != DeviceChoice::Cpu {
            let what = "a sandbox is for models on the processor: the driver of a card reads and writes in many places";
            return Err(Usage::new(what, "add `--device cpu`, or leave out `--sandbox`").into());
        }
        Ok(Self::default())
    }

    /// Lets files, and what is below folders, be read.
    pub fn read(mut self, paths: impl IntoIterator<Item = PathBuf>) -> Self {
        self.read.extend(paths);
        self
    }

    /// Lets what is below folders be read and written.
    #[cfg(feature = "mcp")]
    pub fn write(mut self, folders: impl IntoIterator<Item = PathBuf>) -> Self {
        self.write.extend(folders);
        self
    }

    /// Lets the system's programs run. They can reach no more than this one.
    #[cfg(feature = "mcp")]
    pub fn programs(mut self) -> Self {
        self.run.extend(PROGRAMS.iter().map(PathBuf::from));
        self
    }

    /// Lets the files of a model be read. It has to be on this machine.
    pub fn model(mut self, name: &str, source: &SourceArgs) -> Result<Self> {
        let options = source.options(false);
        let registries = [&options.registry, &options.user_registry].into_iter().flatten();
        self.read.extend(registries.filter(|path| path.is_file()).cloned());
        if let Reference::Repo(repo, _) = Reference::parse(name, &options.registry()?)? {
            self.read.extend(options.cached(&repo)?.map(|cached| cached.folder));
        }
        let files = source.resolve(name, true)?.files;
        self.read.extend(files.folder().map(Path::to_owned));
        // A folder may hold links to what lies elsewhere.
        self.read.extend(files.iter().filter_map(|(_, file)| file.path()?.canonicalize().ok()));
        Ok(self)
    }

    /// Begins it, for this thread and those that it will start: so it has to be called before there are others.
    #[cfg(target_os = "linux")]
    pub fn enter(self) -> Result<()> {
        let threads = std::fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
        let entered = match self.restrict() {
            Ok(landlock::RulesetStatus::NotEnforced) => Err(String::new()),
            Ok(_) if threads > 1 => Err(": there are threads already, which is a mistake in spanqa".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!(": {error}")),
        };
        entered.map_err(|reason| {
            let what = format!("the kernel cannot keep the program to its files{reason}");
            let hint = "that takes Linux 6.2 with Landlock among its security modules; leave out `--sandbox` where it is not to be had";
            Usage::new(what, hint).into()
        })
    }

    #[cfg(not(target_os = "linux"))]
    pub fn enter(self) -> Result<()> {
        let hint =
            "leave it out; containers and the tools of your system can keep programs to their files, too";
        Err(Usage::new("--sandbox is for Linux", hint).into())
    }

    #[cfg(target_os = "linux")]
    fn restrict(self) -> Result<landlock::RulesetStatus, landlock::RulesetError> {
        use landlock::{
            ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
            RulesetCreatedAttr, path_beneath_rules,
        };

        // What the system's own libraries read: names of hosts, and how many processors there are.
        const SYSTEM: &[&str] = &[
            "/etc/hosts",
            "/etc/host.conf",
            "/etc/gai.conf",
            "/etc/nsswitch.conf",
            "/etc/resolv.conf",
            "/proc/cpuinfo",
            "/proc/meminfo",
            "/proc/self",
            "/sys/devices/system",
            "/sys/fs/cgroup",
        ];
        // The first that knows of cutting files short: one before it would let them be emptied.
        let all = AccessFs::from_all(ABI::V3);
        let read = AccessFs::ReadFile | AccessFs::ReadDir;
        let system = SYSTEM.iter().map(PathBuf::from);
        let status = Ruleset::default()
            .set_compatibility(CompatLevel::HardRequirement)
            .handle_access(all)?
            // Younger than that, so only where the kernel has it.
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessNet::ConnectTcp)?
            .create()?
            .add_rules(path_beneath_rules(system.chain(self.read), read))?
            .add_rules(path_beneath_rules(self.run, read | AccessFs::Execute))?
            .add_rules(path_beneath_rules(self.write, all & !AccessFs::Execute))?
            .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?
            .restrict_self()?;
        Ok(status.ruleset)
    }
}

#[cfg(all(test, target_os = "linux", feature = "mcp"))]
mod tests {
    use std::fs;
    use std::io::ErrorKind::PermissionDenied;
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// In a thread, which is held alone. Where the kernel has no Landlock there is nothing to see.
    #[test]
    fn only_what_was_named_is_read_and_written() {
        let dir = tempfile::tempdir().unwrap();
        let [model, index, other] = ["model", "index", "other"].map(|name| dir.path().join(name));
        for folder in [&model, &index, &other] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("a"), "text").unwrap();
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sandbox = Sandbox::default().read([model.clone()]).write([index.clone()]);
        let work = move || {
            if sandbox.restrict().is_err() {
                return;
            }
            let denied = |what: std::io::Result<()>| assert_eq!(what.unwrap_err().kind(), PermissionDenied);
            assert_eq!(fs::read(model.join("a")).unwrap(), b"text");
            denied(fs::write(model.join("b"), "x"));
            denied(fs::OpenOptions::new().write(true).truncate(true).open(model.join("a")).map(drop));
            fs::write(index.join("b"), "x").unwrap();
            fs::rename(index.join("b"), index.join("a")).unwrap();
            assert_eq!(fs::read(index.join("a")).unwrap(), b"x");
            denied(fs::read(other.join("a")).map(drop));
            denied(fs::read_dir(&other).map(drop));
            denied(fs::write(other.join("b"), "x"));
            denied(fs::remove_file(other.join("a")));
            denied(std::process::Command::new("/bin/true").status().map(drop));
            denied(TcpStream::connect(address).map(drop));
            // A thread of its own is held, too.
            let other = std::thread::spawn(move || fs::read(other.join("a")));
            denied(other.join().unwrap().map(drop));
            fs::read("/proc/self/cgroup").unwrap();
        };
        std::thread::spawn(work).join().unwrap();
    }
}
