//! Images loaded into real engines and run there: dockerd, podman, containerd, each on a private socket with data of
//! its own. They need root.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Layout, Sandbox, tool};

/// A running engine and its folder; it is stopped when dropped.
pub(crate) struct Daemon {
    child: Child,
    dir: tempfile::TempDir,
}

impl Daemon {
    /// Starts what `command` makes of a folder, and waits until `ready` is true of it.
    fn start(command: impl Fn(&Path) -> Command, ready: impl Fn(&Path) -> bool) -> Self {
        let dir = tempfile::Builder::new().prefix("daemon-").tempdir().unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let mut command = command(dir.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut daemon = Daemon { child: command.spawn().unwrap(), dir };
        let end = Instant::now() + Duration::from_secs(60);
        while !ready(daemon.dir.path()) {
            let ended = daemon.child.try_wait().unwrap();
            let log = || std::fs::read_to_string(daemon.dir.path().join("log")).unwrap();
            assert!(ended.is_none() && Instant::now() < end, "{command:?} {ended:?}:\n{}", log());
            std::thread::sleep(Duration::from_millis(100));
        }
        daemon
    }

    fn docker(more: &[&str]) -> Self {
        Self::start(
            |dir| {
                let mut command = Command::new(tool("dockerd"));
                command.arg(format!("--host=unix://{}/d.sock", dir.display())).args(more);
                command.args(["--bridge=none", "--iptables=false"]);
                for (flag, name) in [("data-root", "data"), ("exec-root", "exec"), ("pidfile", "pid")] {
                    command.arg(format!("--{flag}={}/{name}", dir.display()));
                }
                command
            },
            |dir| {
                let host = format!("--host=unix://{}/d.sock", dir.display());
                let output = Command::new(tool("docker")).args([&host, "info"]).output().unwrap();
                output.status.success()
            },
        )
    }

    fn podman(storage: &Storage) -> Self {
        let environment = storage.environment();
        Self::start(
            |dir| {
                let mut command = Command::new(tool("podman"));
                command.envs(environment.clone()).args(["system", "service", "--time=0"]);
                command.arg(format!("unix://{}/d.sock", dir.display()));
                command
            },
            |dir| dir.join("d.sock").exists(),
        )
    }

    pub(crate) fn containerd() -> Self {
        Self::start(
            |dir| {
                let at = dir.display();
                let config = format!(
                    "version = 2\nroot = \"{at}/root\"\nstate = \"{at}/state\"\n\
                     disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = \"{at}/d.sock\"\n"
                );
                std::fs::write(dir.join("config.toml"), config).unwrap();
                let mut command = Command::new(tool("containerd"));
                command.arg("--config").arg(dir.join("config.toml"));
                command
            },
            |dir| {
                let socket = dir.join("d.sock");
                let mut ctr = Command::new(tool("ctr"));
                ctr.arg("--address").arg(socket).arg("version").stdout(Stdio::null()).stderr(Stdio::null());
                ctr.status().unwrap().success()
            },
        )
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("d.sock")
    }

    fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Ends it as a service manager would, so that it unmounts what it has mounted.
    fn stop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop();
        unmount(self.dir.path());
    }
}

/// Unmounts what engines leave mounted below a folder, the innermost first, so that it can be removed.
fn unmount(dir: &Path) {
    let table = std::fs::read_to_string("/proc/mounts").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(1));
    let mut below: Vec<&str> = points.filter(|point| Path::new(point).starts_with(dir)).collect();
    below.sort_by_key(|point| std::cmp::Reverse(point.len()));
    for point in below {
        let _ = Command::new("umount").arg(point).stderr(Stdio::null()).status();
    }
}

/// Podman's storage and settings, in a folder of their own: it outlives the service.
pub(crate) struct Storage(tempfile::TempDir);

impl Storage {
    pub(crate) fn new() -> Self {
        Storage(tempfile::Builder::new().prefix("podman-").tempdir().unwrap())
    }

    /// Variables under which podman keeps everything here and runs in any container: see containers.conf(5).
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let at = |name: &str| self.0.path().join(name).to_str().unwrap().to_owned();
        let (storage, containers) = (at("storage.conf"), at("containers.conf"));
        let text = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
            at("graph"),
            at("run")
        );
        std::fs::write(&storage, text).unwrap();
        let limits = "default_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]";
        let text = format!("[containers]\n{limits}\nnetns = \"host\"\n[engine]\nruntime = \"runc\"\n");
        std::fs::write(&containers, text).unwrap();
        vec![("CONTAINERS_STORAGE_CONF".to_owned(), storage), ("CONTAINERS_CONF".to_owned(), containers)]
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        unmount(self.0.path());
    }
}

/// A sandbox that finds the engines' commands.
pub(crate) fn sandbox() -> Sandbox {
    let tools = tool("ctr").parent().unwrap().to_owned();
    let path = format!("{}:{}:/usr/sbin:/sbin", tools.display(), std::env::var("PATH").unwrap());
    Sandbox::go("hello").env("PATH", &path)
}

/// This machine's platform, and another that it may emulate.
fn architectures() -> (&'static str, &'static str) {
    if cfg!(target_arch = "aarch64") { ("arm64", "amd64") } else { ("amd64", "arm64") }
}

/// Lets the kernel run programs of the other architecture; false, and said, if it won't.
fn emulates() -> bool {
    let table = Path::new("/proc/sys/fs/binfmt_misc");
    if !table.join("register").exists() {
        let _ = Command::new("mount").args(["-t", "binfmt_misc", "binfmt_misc"]).arg(table).status();
    }
    let arm = architectures().1 == "arm64";
    let (emulator, machine) = if arm { ("qemu-aarch64", "\\xb7") } else { ("qemu-x86_64", "\\x3e") };
    let known = |name: &str| table.join(name).exists();
    if !known(emulator) && !known("gimg-test") {
        let program = std::fs::canonicalize(tool(emulator)).unwrap();
        let magic = format!("\\x7fELF\\x02\\x01\\x01{}\\x02\\x00{machine}\\x00", "\\x00".repeat(9));
        let mask = format!("{}\\x00{}\\xfe\\xff\\xff\\xff", "\\xff".repeat(7), "\\xff".repeat(8));
        let line = format!(":gimg-test:M::{magic}:{mask}:{}:F", program.display());
        // Two tests may do it at once: then one fails, and the entry is there.
        let _ = std::fs::write(table.join("register"), line);
    }
    let works = known(emulator) || known("gimg-test");
    if !works {
        println!("NOT RUN: the kernel takes no emulator, images of another architecture are only inspected");
    }
    works
}

fn hello(arch: &str) -> String {
    format!("hello from hello dev linux/{arch}\n")
}

/// The part of a printed reference after the last colon.
fn tag_of(reference: &str) -> &str {
    reference.trim_end().rsplit(':').next().unwrap()
}

/// The digest of the config of an image that is built into a layout.
fn config_of(sandbox: &Sandbox, flags: &str) -> String {
    sandbox.run(&format!("gimg build ./cmd/hello -o oci:reference {flags}")).ok();
    Layout::at(sandbox.path("src/reference")).root()["config"]["digest"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "integration: needs dockerd and root"]
fn integration_docker_loads_and_runs_images() {
    let mut daemon = Daemon::docker(&[]);
    let sandbox = sandbox().env("DOCKER_HOST", &daemon.host());
    let (own, other) = architectures();
    let name = "ko.local/hello-20224deb52929e35ecb74c0e57f6ee11";
    let inspect = |image: &str, field: &str| {
        let ran = sandbox.run_with(&format!("docker image inspect {image} --format"), &[field]).ok();
        ran.stdout.trim().to_owned()
    };

    let ran = sandbox.run("gimg build ./cmd/hello --local -t v1,latest -v").ok();
    assert!(ran.stderr.contains(&format!("docker {name}: put")), "{}", ran.stderr);
    let config = config_of(&sandbox, &format!("--platform linux/{own}"));
    for image in [ran.stdout.trim(), &format!("{name}:v1"), &format!("{name}:latest")] {
        assert_eq!(inspect(image, "{{.Id}}"), config, "{image}");
    }
    let run = |image: &str, args: &str| {
        sandbox.run(&format!("docker run --rm --network=host {image} {args}")).ok().stdout
    };
    let note = std::fs::read_to_string(sandbox.path("src/cmd/hello/kodata/note.txt")).unwrap();
    assert_eq!(run(ran.stdout.trim(), "data note.txt"), format!("{}{note}", hello(own)));
    assert_eq!(run(&format!("{name}:v1"), "user nonroot"), format!("{}65532 /home/nonroot\n", hello(own)));
    let again = sandbox.run("gimg build ./cmd/hello -L -t v2 -v").ok();
    assert!(again.stderr.contains(&format!("docker {name}: has")), "{}", again.stderr);
    assert_eq!(inspect(&format!("{name}:v2"), "{{.Id}}"), config);

    // The other architecture, alone and as a part of two.
    let line = format!("gimg build ./cmd/hello -L --platform linux/{other} -t other");
    assert!(sandbox.run(&line).ok().stderr.contains("only by emulation"));
    assert_eq!(inspect(&format!("{name}:other"), "{{.Os}}/{{.Architecture}}"), format!("linux/{other}"));
    if emulates() {
        assert_eq!(run(&format!("--platform linux/{other} {name}:other"), ""), hello(other));
    }
    let both = format!("--platform linux/{other},linux/{own} -o docker: -o oci:both --repo example.com/r");
    sandbox.run(&format!("gimg build ./cmd/hello {both} --bare")).ok();
    assert_eq!(inspect("example.com/r:latest", "{{.Id}}"), config);

    // A base out of the engine: what it gives back is what was loaded.
    sandbox.run(&format!("gimg build ./cmd/other -o oci:based --base {name}:v1 --platform linux/{own}")).ok();
    let layers = |layout: &str| Layout::at(sandbox.path(layout)).root()["layers"].as_array().unwrap().clone();
    let (below, all) = (layers("src/reference"), layers("src/based"));
    assert_eq!((all.len(), &all[..below.len()]), (below.len() + 1, &below[..]));
    sandbox
        .run("gimg build ./cmd/other --base ko.local/none")
        .fails(5, &["docker has no image of this name"]);

    // Nothing of an image that isn't whole stays.
    let ids = || {
        let listed = sandbox.run("docker images --all --quiet --no-trunc").ok();
        listed.lines().into_iter().map(str::to_owned).collect::<std::collections::BTreeSet<String>>()
    };
    let before = ids();
    let layout = Layout::at(sandbox.path("src/reference"));
    let layer = layout.root()["layers"][2]["digest"].as_str().unwrap().replace(':', "/");
    let path = sandbox.path("src/reference/blobs").join(layer);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    sandbox.run("gimg build ./cmd/other -L -B --base oci:reference").fails(8, &["its descriptor says"]);
    let mut wrong = bytes;
    wrong.reverse();
    std::fs::write(&path, &wrong).unwrap();
    sandbox.run("gimg build ./cmd/other -L -B --base oci:reference").fails(8, &["the content is sha256:"]);
    assert_eq!(ids(), before);

    daemon.stop();
    let ran = sandbox.run("gimg build ./cmd/hello -L");
    assert!(!ran.stderr.contains("compiling"), "{}", ran.stderr);
    ran.fails(7, &["connect to docker", &daemon.host()]);
}

#[test]
#[ignore = "integration: needs dockerd and root"]
fn integration_docker_is_reached_over_tls() {
    let sandbox = sandbox();
    // An authority, and certificates of both sides, as docker's own guide makes them.
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    sandbox.run(&format!("openssl req -x509 {key} -subj /CN=test-ca -keyout ca-key.pem -out ca.pem")).ok();
    for (side, more) in [
        ("server", "-addext subjectAltName=IP:127.0.0.1 -addext extendedKeyUsage=serverAuth"),
        ("client", "-addext extendedKeyUsage=clientAuth"),
    ] {
        let leaf = "-CA ca.pem -CAkey ca-key.pem -addext basicConstraints=critical,CA:FALSE";
        let files = format!("-keyout {side}-key.pem -out {side}.pem");
        sandbox.run(&format!("openssl req -x509 {key} {leaf} {more} -subj /CN={side} {files}")).ok();
    }
    std::fs::create_dir(sandbox.path("certs")).unwrap();
    for (from, to) in [("ca.pem", "ca.pem"), ("client.pem", "cert.pem"), ("client-key.pem", "key.pem")] {
        std::fs::copy(sandbox.path("src").join(from), sandbox.path("certs").join(to)).unwrap();
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let file = |name: &str| sandbox.path("src").join(name).to_str().unwrap().to_owned();
    let daemon = Daemon::docker(&[
        &format!("--host=tcp://127.0.0.1:{port}"),
        "--tlsverify",
        &format!("--tlscacert={}", file("ca.pem")),
        &format!("--tlscert={}", file("server.pem")),
        &format!("--tlskey={}", file("server-key.pem")),
    ]);
    let certs = sandbox.path("certs").to_str().unwrap().to_owned();
    let host = format!("tcp://127.0.0.1:{port}");
    let sandbox = sandbox.env("DOCKER_HOST", &host).env("DOCKER_TLS_VERIFY", "1");
    // Without our certificate the engine says no.
    sandbox.run("gimg build ./cmd/other -L").fails(7, &["connect to docker", &host]);
    let sandbox = sandbox.env("DOCKER_CERT_PATH", &certs);
    let reference = sandbox.run("gimg build ./cmd/other -L").ok().stdout;
    let there = sandbox.without("DOCKER_TLS_VERIFY").env("DOCKER_HOST", &daemon.host());
    there.run(&format!("docker image inspect {reference}")).ok();
}

#[test]
#[ignore = "integration: needs podman and root"]
fn integration_podman_loads_and_runs_images() {
    let storage = Storage::new();
    let sandbox =
        storage.environment().iter().fold(sandbox(), |sandbox, (key, value)| sandbox.env(key, value));
    let mut daemon = Daemon::podman(&storage);
    let sandbox = sandbox.env("CONTAINER_HOST", &daemon.host());
    let (own, other) = architectures();
    // The same storage without the service in between.
    let local = |line: &str| {
        let mut command = sandbox.command(line);
        command.env_remove("CONTAINER_HOST");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let inspect = |image: &str, field: &str| {
        local(&format!("podman image inspect {image} --format {{{{.{field}}}}}")).trim().to_owned()
    };

    for compression in ["gzip", "zstd"] {
        let flags = format!("--compression {compression} -B -t {compression}");
        let ran = sandbox.run(&format!("gimg build ./cmd/hello -o podman: {flags} -v")).ok();
        let image = ran.stdout.trim();
        assert_eq!(image, format!("ko.local/hello:{}", tag_of(image)));
        let config = config_of(&sandbox, &format!("--platform linux/{own} --compression {compression}"));
        assert_eq!(format!("sha256:{}", inspect(image, "Id")), config);
        if compression == "gzip" {
            assert!(ran.stderr.contains("podman ko.local/hello: put"), "{}", ran.stderr);
            assert_eq!(inspect(image, "Digest"), format!("sha256:{}", tag_of(image)), "the manifest's");
        }
        let run = format!("podman run --rm ko.local/hello:{compression} zone Asia/Shanghai");
        assert_eq!(local(&run), format!("{}1970-01-01T08:00:00+08:00\n", hello(own)));
    }
    // A store without the same config: zstd is really loaded and unpacked.
    let zstd = sandbox.run("gimg build ./cmd/other -o podman: --compression zstd -B").ok();
    assert_eq!(inspect(zstd.stdout.trim(), "Digest"), format!("sha256:{}", tag_of(&zstd.stdout)));

    sandbox.run(&format!("gimg build ./cmd/hello -o podman: -B --platform linux/{other} -t other")).ok();
    assert_eq!(inspect("ko.local/hello:other", "Architecture"), other);
    if emulates() {
        assert_eq!(local("podman run --rm ko.local/hello:other"), hello(other));
    }
    // ko's way to podman: docker's variable. Docker's format is sent then.
    let docker = sandbox.env("DOCKER_HOST", &daemon.host());
    let ran = docker.run_with("gimg build ./cmd/other -L -B -t by-docker", &["--ldflags", "-s"]).ok();
    let sandbox = docker;
    let mut command = sandbox.command(&format!("podman image exists {}", ran.stdout.trim()));
    assert!(command.env_remove("CONTAINER_HOST").status().unwrap().success());

    daemon.stop();
    sandbox.run("gimg build ./cmd/hello -o podman:").fails(7, &["connect to podman"]);
    let sandbox = sandbox.without("CONTAINER_HOST").env("XDG_RUNTIME_DIR", "/nonexistent");
    let ran = sandbox.run("gimg build ./cmd/hello -o podman: -B -t by-command --ldflags=-w").ok();
    let run = sandbox.run("podman run --rm ko.local/hello:by-command").ok().stdout;
    assert_eq!(run, hello(own));
    let again = sandbox.run("gimg build ./cmd/hello -o podman: -B -t again --ldflags=-w -v").ok();
    assert!(again.stderr.contains("podman ko.local/hello: has"), "{}", again.stderr);
    assert_eq!(ran.stdout, again.stdout);
}

#[test]
#[ignore = "integration: needs containerd and root"]
fn integration_containerd_loads_and_runs_images() {
    let mut daemon = Daemon::containerd();
    let sandbox = sandbox().env("CONTAINERD_ADDRESS", daemon.socket().to_str().unwrap());
    let (own, other) = architectures();
    let run = |reference: &str, id: &str, flags: &str| {
        sandbox.run(&format!("ctr {flags} run --rm --net-host {reference} {id}")).ok().stdout
    };
    for compression in ["gzip", "zstd", "none"] {
        let line = format!("gimg build ./cmd/hello -o containerd: -B --compression {compression}");
        let ran = sandbox.run(&format!("{line} -t {compression} -v")).ok();
        let reference = ran.stdout.trim();
        assert!(ran.stderr.contains("containerd ko.local/hello: put"), "{}", ran.stderr);
        let list = sandbox.run("ctr images ls").ok().stdout;
        for name in [reference, &format!("ko.local/hello:{compression}")] {
            let row = list.lines().find(|l| l.split(' ').next() == Some(name)).unwrap();
            assert!(row.contains(&format!("sha256:{}", tag_of(reference))), "{row}");
        }
        assert_eq!(run(&format!("ko.local/hello:{compression}"), compression, ""), hello(own));
        let again = sandbox.run(&format!("{line} -t again -v")).ok();
        assert!(again.stderr.contains("containerd ko.local/hello: has"), "{}", again.stderr);
    }
    let line = format!("gimg build ./cmd/hello -o containerd:apps -B --platform linux/{other} -t other");
    sandbox.run(&line).ok();
    let list = sandbox.run("ctr --namespace apps images ls name==ko.local/hello:other").ok().stdout;
    assert!(list.contains(&format!("linux/{other}")), "{list}");
    if emulates() {
        let flags = format!("--platform linux/{other} --net-host ko.local/hello:other emulated");
        let ran = sandbox.run(&format!("ctr --namespace apps run --rm {flags}")).ok();
        assert_eq!(ran.stdout, hello(other));
    }
    daemon.stop();
    sandbox.run("gimg build ./cmd/hello -o containerd:").fails(7, &["connect to containerd"]);
}

#[test]
#[ignore = "integration: needs containerd and root"]
fn integration_a_kind_node_imports_images() {
    use std::os::unix::fs::PermissionsExt as _;
    // There are no node images here: the node is this machine, its containerd a private one.
    let daemon = Daemon::containerd();
    let sandbox = sandbox().env("CONTAINERD_ADDRESS", daemon.socket().to_str().unwrap());
    let script = "#!/bin/sh\ncase \"$1\" in\nps) printf 'kind-control-plane\\tlabels\\n' ;;\n\
                  exec) shift 4; exec \"$@\" ;;\nesac\n";
    std::fs::create_dir(sandbox.path("bin")).unwrap();
    let docker = sandbox.path("bin/docker");
    std::fs::write(&docker, script).unwrap();
    std::fs::set_permissions(&docker, std::fs::Permissions::from_mode(0o755)).unwrap();
    let tools = tool("ctr").parent().unwrap().to_owned();
    let path =
        format!("{}:{}:{}", sandbox.path("bin").display(), tools.display(), std::env::var("PATH").unwrap());
    let sandbox = sandbox.env("PATH", &path).env("KO_DOCKER_REPO", "kind.local");
    let ran = sandbox.run("gimg build ./cmd/hello --tags v1").ok();
    let name = "kind.local/hello-20224deb52929e35ecb74c0e57f6ee11";
    assert_eq!(ran.stdout, format!("{name}:{}\n", tag_of(&ran.stdout)));
    let own = architectures().0;
    let run = format!("ctr --namespace k8s.io run --rm --net-host {name}:v1 node");
    assert_eq!(sandbox.run(&run).ok().stdout, hello(own));
    let bare = sandbox.run("gimg build ./cmd/hello --bare --tags v1").ok();
    assert_eq!(bare.stdout, format!("kind.local:{}\n", tag_of(&ran.stdout)));
    let list = sandbox.run("ctr --namespace k8s.io images ls --quiet").ok().stdout;
    assert!(list.contains("docker.io/library/kind.local:v1\n"), "as a cluster looks it up: {list}");
}
