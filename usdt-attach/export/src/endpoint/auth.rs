//! Basic authentication against bcrypt hashes.
//!
//! Checking a password takes a large fraction of a second of CPU time, by design. So that clients
//! cannot use up the CPU, passwords are checked one at a time in a thread of their own, with a
//! pause after each wrong one, and few clients wait. A correct password is remembered, so that
//! regular clients never wait for others.

use super::connections::lock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;
use tokio::time::sleep;

/// The maximum number of clients that wait for the check of their password.
const MAX_WAITING: usize = 8;
/// The maximum cost of a hash: checking takes about 2 seconds.
const MAX_COST: u32 = 15;
/// The maximum length of a user name and a password in bytes.
const MAX_CREDENTIALS: usize = 1024;

/// A bcrypt hash such as `htpasswd -nBC 10 ""` prints.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct PasswordHash(String);

impl TryFrom<String> for PasswordHash {
    type Error = String;

    fn try_from(hash: String) -> Result<PasswordHash, String> {
        let hint = "create it with `htpasswd -nBC 10 USER`";
        let parts: bcrypt::HashParts =
            hash.parse().map_err(|_| format!("the password is not a bcrypt hash; {hint}"))?;
        if !(4..=MAX_COST).contains(&parts.get_cost()) {
            return Err(format!(
                "the cost of the bcrypt hash is {}, not from 4 to {MAX_COST}; {hint}",
                parts.get_cost()
            ));
        }
        // Fails if the salt or the hash is damaged, which only a check finds.
        let probe = hash.replacen(&format!("${:02}$", parts.get_cost()), "$04$", 1);
        bcrypt::verify("", &probe).map_err(|_| format!("the bcrypt hash is damaged; {hint}"))?;
        Ok(PasswordHash(hash))
    }
}

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Granted,
    Denied,
    /// Too many clients wait for the check of their password.
    Busy,
}

/// The users that may scrape.
#[derive(Debug)]
pub(crate) struct Users {
    hashes: HashMap<String, PasswordHash>,
    /// The hash that passwords of unknown users are checked against, so that the time of the check
    /// does not reveal which users there are.
    decoy: PasswordHash,
    /// The correct password of each user that has sent it.
    verified: Mutex<HashMap<String, Vec<u8>>>,
    /// One for each client that waits or is checked.
    places: Arc<Semaphore>,
    /// Only one password is checked at a time.
    turn: Arc<Semaphore>,
}

impl Users {
    /// Creates the users of a file. `None` if there are none.
    pub(crate) fn new(hashes: HashMap<String, PasswordHash>) -> Option<Users> {
        let cost = |hash: &&PasswordHash| {
            hash.0.parse().map_or(0, |parts: bcrypt::HashParts| parts.get_cost())
        };
        let decoy = hashes.values().max_by_key(cost)?.clone();
        Some(Users {
            hashes,
            decoy,
            verified: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX_WAITING)),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// Takes over the remembered passwords of users whose hashes have not changed.
    pub(crate) fn adopt(&self, old: &Users) {
        let old_verified = lock(&old.verified);
        let unchanged = |user: &String| self.hashes.get(user) == old.hashes.get(user);
        lock(&self.verified).extend(
            old_verified
                .iter()
                .filter(|(user, _)| unchanged(user))
                .map(|(user, password)| (user.clone(), password.clone())),
        );
    }

    /// Checks the value of an `Authorization` header.
    pub(crate) async fn check(&self, header: Option<&[u8]>) -> Access {
        let Some((user, password)) = header.and_then(parse_credentials) else {
            return Access::Denied;
        };
        let is_verified = lock(&self.verified)
            .get(&user)
            .is_some_and(|verified| bool::from(verified.ct_eq(&password)));
        if is_verified {
            return Access::Granted;
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return Access::Busy };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return Access::Busy };
        let known = self.hashes.get(&user);
        let hash = known.unwrap_or(&self.decoy).0.clone();
        let start = Instant::now();
        let candidate = password.clone();
        // The permits move into the check: it goes on if the client disconnects.
        let check = tokio::task::spawn_blocking(move || {
            let is_correct = bcrypt::verify(candidate, &hash).unwrap_or(false);
            (is_correct, place, turn)
        });
        let Ok((is_correct, place, turn)) = check.await else { return Access::Denied };
        if is_correct && known.is_some() {
            lock(&self.verified).insert(user, password);
            return Access::Granted;
        }
        tokio::spawn(async move {
            sleep(start.elapsed()).await;
            drop((place, turn));
        });
        Access::Denied
    }
}

/// Parses the value of an `Authorization` header as RFC 7617 defines it.
pub(crate) fn parse_credentials(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > MAX_CREDENTIALS {
        return None;
    }
    let decoded = BASE64.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at_checked(colon)?;
    Some((String::from_utf8(user.to_vec()).ok()?, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn hash(password: &str) -> PasswordHash {
        PasswordHash::try_from(bcrypt::hash(password, 4).unwrap()).unwrap()
    }

    fn header(user: &str, password: &str) -> Vec<u8> {
        format!("Basic {}", BASE64.encode(format!("{user}:{password}"))).into_bytes()
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test)
    }

    #[test]
    fn grants_access_by_user_and_password() {
        let users = Users::new(HashMap::from([
            ("ann".to_owned(), hash("a:b")),
            ("bob".to_owned(), hash("")),
        ]))
        .unwrap();
        run(async {
            for (user, password, expected) in [
                ("ann", "a:b", Access::Granted),
                ("ann", "a:b", Access::Granted),
                ("ann", "a", Access::Denied),
                ("ann", "", Access::Denied),
                ("bob", "", Access::Granted),
                ("eve", "a:b", Access::Denied),
            ] {
                let header = header(user, password);
                assert_eq!(users.check(Some(&header)).await, expected, "{user}:{password}");
            }
            for header in ["", "Basic", "Basic ", "Basic !", "Basic YQ==", "Bearer YTphOmI="] {
                assert_eq!(users.check(Some(header.as_bytes())).await, Access::Denied, "{header}");
            }
            assert_eq!(users.check(None).await, Access::Denied);
        });
    }

    #[test]
    fn remembered_passwords_survive_a_reload_of_the_same_hash() {
        let hashes = HashMap::from([("ann".to_owned(), hash("1")), ("bob".to_owned(), hash("2"))]);
        let old = Users::new(hashes.clone()).unwrap();
        run(async {
            for (user, password) in [("ann", "1"), ("bob", "2")] {
                let header = header(user, password);
                assert_eq!(old.check(Some(&header)).await, Access::Granted);
            }
        });
        let mut changed = hashes;
        changed.insert("bob".to_owned(), hash("3"));
        let new = Users::new(changed).unwrap();
        new.adopt(&old);
        assert_eq!(lock(&new.verified).keys().collect::<Vec<_>>(), ["ann"]);
    }

    #[test]
    fn a_flood_of_wrong_passwords_does_not_delay_a_remembered_one() {
        let users =
            Arc::new(Users::new(HashMap::from([("ann".to_owned(), hash("right"))])).unwrap());
        run(async {
            let right = header("ann", "right");
            assert_eq!(users.check(Some(&right)).await, Access::Granted);
            let flood: Vec<_> = (0..100)
                .map(|n| {
                    let users = Arc::clone(&users);
                    let wrong = header("ann", &format!("wrong{n}"));
                    tokio::spawn(async move { users.check(Some(&wrong)).await })
                })
                .collect();
            tokio::task::yield_now().await;
            let start = Instant::now();
            assert_eq!(users.check(Some(&right)).await, Access::Granted);
            assert!(start.elapsed() < Duration::from_millis(100));
            let mut busy = 0;
            for one in flood {
                busy += usize::from(one.await.unwrap() == Access::Busy);
            }
            assert_eq!(busy, 100 - MAX_WAITING);
        });
    }

    #[test]
    fn rejects_damaged_and_expensive_hashes() {
        for (text, expected) in [
            ("secret", "not a bcrypt hash"),
            ("$2y$31$L6Bc/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u", "cost"),
            ("$2y$10$!!!!/AlTQHyd9liGgGEZyOFLPHNgyxeEPfgYfBCVxJ7JIlwxyVU3u", "damaged"),
        ] {
            let error = PasswordHash::try_from(text.to_owned()).unwrap_err();
            assert!(error.contains(expected) && error.contains("htpasswd"), "{error}");
        }
    }
}
