//! Whose numbers they are: the service and the container of a process.
//!
//! All of it is what a process says about itself, or what its container engine named: a process of
//! another user can choose both. So names are bounded and escaped, and their number is limited.

use std::path::Path;
use std::sync::Arc;
use usdt_attach::error::Escaped;

/// The service of owners beyond the limit.
pub(crate) const OTHER: &str = "other";
/// The length in bytes to which names of services are truncated.
const MAX_NAME: usize = 128;
/// The digits of a container ID.
const ID_DIGITS: usize = 64;
/// The digits of a container ID as container engines print it in lists.
const SHORT_ID_DIGITS: usize = 12;

/// Whose numbers they are. Processes with the same service and container are one owner.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// The name that the process has set for OpenTelemetry, else the name of its executable.
    pub(crate) service: String,
    /// The ID of its container; `None` outside of containers.
    pub(crate) container: Option<String>,
}

impl Owner {
    /// The owner of a process of which nothing is known but a file that it runs.
    pub(crate) fn of_file(path: &Path) -> Arc<Owner> {
        let name = path.file_name().unwrap_or(path.as_os_str());
        let service = clean(name.as_encoded_bytes()).unwrap_or_else(|| OTHER.to_owned());
        Arc::new(Owner { service, container: None })
    }

    pub(crate) fn other() -> Arc<Owner> {
        Arc::new(Owner { service: OTHER.to_owned(), container: None })
    }

    /// The ID of the container as container engines print it in lists.
    pub(crate) fn short_container(&self) -> Option<&str> {
        self.container.as_deref().map(|id| id.get(..SHORT_ID_DIGITS).unwrap_or(id))
    }
}

/// Returns a name without what a terminal obeys, in valid UTF-8 and at most [`MAX_NAME`] bytes;
/// `None` if it is empty.
pub(crate) fn clean(name: &[u8]) -> Option<String> {
    let name = name.trim_ascii();
    let mut out = Escaped::bytes(name.get(..4 * MAX_NAME).unwrap_or(name)).to_string();
    if out.len() > MAX_NAME {
        let mut end = MAX_NAME - '…'.len_utf8();
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
        out.push('…');
    }
    (!out.is_empty()).then_some(out)
}

/// Returns the name of the service in the environment of a process (proc_pid_environ(5)):
/// `OTEL_SERVICE_NAME`, else `service.name` in `OTEL_RESOURCE_ATTRIBUTES`, as the OpenTelemetry
/// specification orders them. `None` if it has neither.
pub(crate) fn service_in_environ(environ: &[u8]) -> Option<String> {
    let value = |name: &[u8]| {
        let mut variables = environ.split(|b| *b == 0);
        variables.find_map(|variable| variable.strip_prefix(name)?.strip_prefix(b"="))
    };
    if let Some(name) = value(b"OTEL_SERVICE_NAME").and_then(clean) {
        return Some(name);
    }
    let attributes = value(b"OTEL_RESOURCE_ATTRIBUTES")?;
    let mut pairs = attributes.split(|b| *b == b',');
    pairs.find_map(|pair| {
        let at = pair.iter().position(|b| *b == b'=')?;
        let (name, value) = pair.split_at_checked(at)?;
        (name.trim_ascii() == b"service.name")
            .then(|| clean(&percent_decoded(value.get(1..)?)))
            .flatten()
    })
}

/// Decodes `%20` and the like, as the values of `OTEL_RESOURCE_ATTRIBUTES` are encoded.
fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        let digits = (*first == b'%').then(|| after.first_chunk::<2>()).flatten();
        let byte = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    out
}

/// Returns the ID of the innermost container in `/proc/PID/cgroup` (cgroups(7)); `None` if there is
/// none.
///
/// Docker, containerd, CRI-O, podman and Kubernetes name cgroups by the ID of 64 hexadecimal digits:
///
/// ```text
/// /system.slice/docker-ID.scope    /docker/ID    /machine.slice/libpod-ID.scope/container
/// /kubepods/burstable/podUID/ID    /kubepods.slice/…/cri-containerd-ID.scope    …/crio-ID.scope
/// ```
pub(crate) fn container_id(cgroup: &str) -> Option<String> {
    cgroup.lines().find_map(|line| {
        let path = line.splitn(3, ':').nth(2)?;
        path.rsplit('/').find_map(id_in_component).map(str::to_owned)
    })
}

fn id_in_component(component: &str) -> Option<&str> {
    // The monitor of a container is outside of it.
    if component.contains("-conmon-") {
        return None;
    }
    let name = component.strip_suffix(".scope").unwrap_or(component);
    let id = name.rsplit(['-', ':']).next().unwrap_or(name);
    let is_digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (id.len() == ID_DIGITS && id.bytes().all(is_digit)).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4f9c8b7a6d5e4f3c2b1a09182736455463728190a0b1c2d3e4f5061728394a5b";

    #[test]
    fn finds_the_container_in_the_cgroups_of_each_engine() {
        for path in [
            format!("0::/system.slice/docker-{ID}.scope"),
            format!("12:memory:/docker/{ID}\n11:cpu:/docker/{ID}"),
            format!("0::/machine.slice/libpod-{ID}.scope/container"),
            format!("0::/kubepods/burstable/pod7c1b/{ID}"),
            format!(
                "0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-{ID}.scope"
            ),
            format!("0::/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope"),
            format!("0::/../system.slice/kubelet:cri-containerd:{ID}"),
            format!("0::/docker/{}/docker/{ID}", "0".repeat(64)),
            format!("1:name=systemd:/user.slice\n0::/docker/{ID}/init.scope"),
        ] {
            assert_eq!(container_id(&path).as_deref(), Some(ID), "{path}");
        }
        for path in [
            "0::/user.slice/user-0.slice/session-1.scope".to_owned(),
            "0::/".to_owned(),
            format!("0::/machine.slice/libpod-conmon-{ID}.scope"),
            format!("0::/docker/{}", ID.to_uppercase()),
            format!("0::/docker/{ID}0"),
            "garbage".to_owned(),
            String::new(),
        ] {
            assert_eq!(container_id(&path), None, "{path}");
        }
    }

    #[test]
    fn takes_the_service_from_the_variables_of_opentelemetry() {
        for (environ, expected) in [
            (&b"PATH=/bin\0OTEL_SERVICE_NAME=shop\0"[..], Some("shop")),
            (b"OTEL_RESOURCE_ATTRIBUTES=a=b, service.name=web%20shop,c=d\0", Some("web shop")),
            (b"OTEL_RESOURCE_ATTRIBUTES=service.name=a\0OTEL_SERVICE_NAME=b\0", Some("b")),
            (b"OTEL_SERVICE_NAME=\0OTEL_RESOURCE_ATTRIBUTES=service.name=a", Some("a")),
            (b"OTEL_SERVICE_NAME=a\x1b[2J\xff\n", Some("a\\u{1b}[2J\\xff")),
            (b"OTEL_RESOURCE_ATTRIBUTES=service.name=%zz%4", Some("%zz%4")),
            (b"OTEL_RESOURCE_ATTRIBUTES=service.name=\0", None),
            (b"XOTEL_SERVICE_NAME=a\0OTEL_SERVICE_NAMES=b\0", None),
            (b"", None),
        ] {
            assert_eq!(service_in_environ(environ).as_deref(), expected);
        }
        let long = format!("OTEL_SERVICE_NAME={}", "é".repeat(1000));
        assert!(service_in_environ(long.as_bytes()).unwrap().len() <= MAX_NAME);
    }

    #[test]
    fn shortens_the_id_of_a_container() {
        let owner = Owner { service: "a".to_owned(), container: Some(ID.to_owned()) };
        assert_eq!(owner.short_container(), Some("4f9c8b7a6d5e"));
    }

    proptest! {
        #[test]
        fn names_are_bounded_and_without_control_characters(
            name in proptest::collection::vec(any::<u8>(), 0..600)
        ) {
            let mut environ = b"A=1\0OTEL_SERVICE_NAME=".to_vec();
            environ.extend(&name);
            for cleaned in [clean(&name), service_in_environ(&environ)].into_iter().flatten() {
                prop_assert!(!cleaned.is_empty() && cleaned.len() <= MAX_NAME);
                prop_assert!(!cleaned.contains(char::is_control));
            }
        }

        #[test]
        fn reads_any_environment_and_cgroup(bytes: Vec<u8>, text: String) {
            let mut environ = b"OTEL_RESOURCE_ATTRIBUTES=".to_vec();
            environ.extend(&bytes);
            let _ = service_in_environ(&bytes);
            let _ = service_in_environ(&environ);
            let _ = container_id(&text);
            prop_assert!(percent_decoded(&bytes).len() <= bytes.len());
        }

        #[test]
        fn decodes_what_is_percent_encoded(bytes: Vec<u8>) {
            let encoded: String = bytes.iter().map(|b| format!("%{b:02X}")).collect();
            prop_assert_eq!(percent_decoded(encoded.as_bytes()), bytes);
        }
    }
}
