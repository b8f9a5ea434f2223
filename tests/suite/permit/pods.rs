//! Two pods of one deployment, as deploy/kubernetes.yaml lays them out: one host's key and permit for
//! both, in a Secret, and a state of its own for each (TLS-3).
use std::cell::Cell;
use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use sekisho::devcerts::{DevPki, Existing};
use sekisho::mock::{Caller, CallerConfig};

use crate::logs::{SOON, eventually};
use crate::support::{CONFIG, ORDERS, get, pki, scratch};

const MANIFEST: &str = include_str!("../../../deploy/kubernetes.yaml");
const MOUNT: &str = "/run/secrets/sekisho";

/// The section of the configuration that the manifest gives, of this name.
fn section(name: &str) -> String {
    let lines = MANIFEST.lines().filter_map(|line| line.strip_prefix("# "));
    let from = lines.skip_while(|line| *line != format!("[{name}]"));
    let own: Vec<&str> = from.skip(1).take_while(|line| line.contains(" = ")).collect();
    own.join("\n") + "\n"
}

/// A Secret as the kubelet mounts it for a group: links to links, files of mode 0440.
fn mount(dir: &Path, files: &BTreeMap<&str, Vec<u8>>) -> PathBuf {
    let (own, version) = (dir.join("secret"), dir.join("secret/..2026"));
    std::fs::create_dir_all(&version).unwrap();
    symlink("..2026", own.join("..data")).unwrap();
    for (name, content) in files {
        std::fs::write(version.join(name), content).unwrap();
        let mode = std::fs::Permissions::from_mode(0o440);
        std::fs::set_permissions(version.join(name), mode).unwrap();
        symlink(format!("..data/{name}"), own.join(name)).unwrap();
    }
    own
}

struct Deployment {
    dir: PathBuf,
    started: Cell<u32>,
    secret: PathBuf,
    pki: DevPki,
}

impl Drop for Deployment {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

struct Pod {
    child: Child,
    err: PathBuf,
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Deployment {
    fn new() -> Self {
        let (dir, pki) = (scratch(), pki());
        pki.write(&dir.join("pki"), Existing::Replace).unwrap();
        let names = ["localhost", "gateway.test"].map(str::to_owned);
        let now = crate::support::now();
        let claims = pki.host.claims("production", &["apps"], &names, now).unwrap();
        let of = |file: &str| std::fs::read(dir.join("pki/permit").join(file)).unwrap();
        let files = BTreeMap::from([
            ("host.key", of("host.key")),
            ("machine-id", of("machine-id")),
            ("issuer.pub", of("issuer.pub")),
            ("host.permit", pki.host.issuer.sign(&claims).into_bytes()),
        ]);
        let secret = mount(&dir, &files);
        std::fs::remove_dir_all(dir.join("pki/permit")).unwrap();
        Self { dir, started: Cell::new(0), secret, pki }
    }

    /// One of its pods, with the volume of this number. What is written there is all that differs.
    fn pod(&self, number: u16) -> Pod {
        let volume = self.dir.join(format!("volume-{number}"));
        std::fs::create_dir_all(&volume).unwrap();
        std::fs::set_permissions(&volume, std::fs::Permissions::from_mode(0o2775)).unwrap();
        let here = |text: String| {
            let text = text.replace(MOUNT, self.secret.to_str().unwrap());
            text.replace("/var/lib/sekisho", volume.to_str().unwrap())
        };
        let (_, rest) = CONFIG.split_once("[network]\n").unwrap();
        let rest = rest.replace("{amazon}", "1").replace("{warehouse}", "1");
        let rest = rest.replace("environment = \"test\"", "environment = \"production\"");
        let rest = rest.replace("stage = \"sandbox\"\n", "");
        let text = format!(
            "[gateway]\n{}[permit]\n{}[network]\n{}",
            here(section("gateway")),
            here(section("permit")),
            rest.replace("access.log", &format!("access-{number}.log")),
        );
        let config = self.dir.join(format!("sekisho-{number}.toml"));
        std::fs::write(&config, text).unwrap();
        // What each of them says is its own: two may have the same volume for a moment.
        self.started.set(self.started.get() + 1);
        let err = self.dir.join(format!("err-{}", self.started.get()));
        let mut command = Command::new(env!("CARGO_BIN_EXE_sekisho"));
        command.arg("run").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        assert!(MANIFEST.contains(&format!("name: CREDENTIALS_DIRECTORY, value: {MOUNT}")));
        command.env("CREDENTIALS_DIRECTORY", &self.secret);
        command.stderr(std::fs::File::create(&err).unwrap());
        Pod { child: command.spawn().unwrap(), err }
    }

    async fn serves(&self, pod: &Pod) {
        let address = eventually("the address", || {
            let said = std::fs::read_to_string(&pod.err).unwrap();
            assert!(!said.contains("can't be"), "{said}");
            let (_, after) = said.split_once("listening on ")?;
            after.split_once(" (apps)")?.0.parse().ok()
        })
        .await;
        let mut config = CallerConfig::trusting(self.pki.ca.certificate());
        config.deadline = SOON;
        // TLS ends here; nobody is known in this environment, and so nobody goes further.
        let reply = Caller::new(config).unwrap().call(address, get(ORDERS)).await.unwrap();
        assert_eq!(reply.status, 401, "{}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_3_pods_of_one_deployment_share_a_permit_and_no_state() {
    let deployment = Deployment::new();
    let (one, two) = (deployment.pod(1), deployment.pod(2));
    deployment.serves(&one).await;
    deployment.serves(&two).await;
    for number in [1, 2] {
        let state = deployment.dir.join(format!("volume-{number}/state"));
        eventually("its own record of the time", || {
            state.join("permit.clock").exists().then_some(())
        })
        .await;
        assert!(!state.join("host.key").exists(), "the key is the deployment's");
    }
    // A pod that takes another one's volume before that has ended is not started.
    let mut early = deployment.pod(2);
    let status = eventually("its end", || early.child.try_wait().unwrap()).await;
    assert_eq!(status.code(), Some(1));
    let said = std::fs::read_to_string(&early.err).unwrap();
    assert!(said.contains("another process has the store open"), "{said}");
    // After it, it goes on from there.
    let pid = Pid::from_raw(i32::try_from(two.child.id()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let mut two = two;
    eventually("the end of the pod", || two.child.try_wait().unwrap()).await;
    deployment.serves(&deployment.pod(2)).await;
}
