//! Showing a site that we may read it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::key_file::read_private;
use serde::Deserialize;
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::http::{Client, Shown};
use super::problem::Problem;
use crate::source::settings::no_secret;

/// A site's answer is trusted this much shorter than it says.
const MARGIN: Duration = Duration::from_secs(300);
/// Whatever a site says, a pass is renewed after this.
const LIFE_MAX: Duration = Duration::from_secs(8 * 3_600);

/// Where the secret is.
#[derive(Clone, Debug)]
pub(super) enum Secret {
    /// The site is open to anyone.
    None,
    /// A subject's token.
    Token(PathBuf),
    /// The site's own secret.
    Api(PathBuf),
}

impl Secret {
    /// What its file holds now; nothing where a site is open to anyone.
    pub(super) fn read(&self) -> Result<Option<Zeroizing<String>>, Problem> {
        match self {
            Self::None => Ok(None),
            Self::Api(file) => read("api_secret_file", file).map(Some),
            Self::Token(file) => {
                let token = read("token_file", file)?;
                if !token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)) {
                    return Err(Problem::File("`token_file` holds no token such as reader-0123456789abcdef".into()));
                }
                Ok(Some(token))
            }
        }
    }
}

/// What is shown with each question.
pub(super) struct Auth {
    secret: Secret,
    pass: Option<Pass>,
}

/// What is shown.
struct Pass {
    header: Shown,
    /// Until when it is good, where it is not for good.
    until: Option<Instant>,
    /// How often it was shown.
    used: u32,
}

/// What a site gives for a token.
#[derive(Deserialize)]
struct Given {
    token: String,
    iat: Option<f64>,
    exp: Option<f64>,
}

impl Auth {
    pub(super) fn new(secret: Secret) -> Self {
        Self { secret, pass: None }
    }

    /// Whether there is a token, without which the newer interface says nothing.
    pub(super) fn has_token(&self) -> bool {
        matches!(self.secret, Secret::Token(_))
    }

    /// Whether what is shown was used before: then another may be taken where this one is not.
    pub(super) fn is_aged(&self) -> bool {
        self.pass.as_ref().is_some_and(|pass| pass.used > 1)
    }

    /// What is shown is not good any more.
    pub(super) fn forget(&mut self) {
        self.pass = None;
    }

    /// The header to show; the file is read when there is none, so that a new secret is taken up.
    pub(super) async fn header(&mut self, client: &mut Client) -> Result<Option<Shown>, Problem> {
        if let Some(pass) = &mut self.pass
            && pass.until.is_none_or(|until| Instant::now() < until)
        {
            pass.used = pass.used.saturating_add(1);
            return Ok(Some(pass.header.clone()));
        }
        let place = self.secret.clone();
        let read = tokio::task::spawn_blocking(move || place.read()).await;
        let Some(secret) = read.map_err(|_| Problem::File("reading the secret was interrupted".into()))?? else {
            return Ok(None);
        };
        let (header, until) = match &self.secret {
            Secret::None => return Ok(None),
            Secret::Api(_) => (api_secret(&hashed(&secret)), None),
            Secret::Token(_) => exchange(client, &secret).await?,
        };
        self.pass = Some(Pass { header: header.clone(), until, used: 1 });
        Ok(Some(header))
    }
}

/// A pass for `token`; an old site has none to give and takes the token itself.
async fn exchange(client: &mut Client, token: &str) -> Result<(Shown, Option<Instant>), Problem> {
    let path = Zeroizing::new(format!("/api/v2/authorization/request/{token}"));
    let answer = match client.get(&path, None).await?.good("the token") {
        Err(Problem::Missing) => return Ok((api_secret(token), None)),
        answer => answer?.unwrap_or_default(),
    };
    let answer = Zeroizing::new(answer);
    let nonsense = || Problem::Nonsense { what: "the token", problem: "it gives no pass for it".into() };
    let pass: Given = serde_json::from_slice(&answer).map_err(|_| nonsense())?;
    let token = Zeroizing::new(pass.token);
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(nonsense());
    }
    let value = Zeroizing::new(format!("Bearer {}", *token));
    let life = pass.exp.zip(pass.iat).map(|(exp, iat)| (exp - iat).clamp(0.0, LIFE_MAX.as_secs_f64()));
    let life = life.filter(|life| life.is_finite()).map_or(LIFE_MAX, Duration::from_secs_f64);
    let until = Instant::now() + life.saturating_sub(MARGIN.min(life / 2));
    Ok((Shown { name: "authorization", value }, Some(until)))
}

fn api_secret(text: &str) -> Shown {
    Shown { name: "api-secret", value: Zeroizing::new(text.to_owned()) }
}

/// What Nightscout compares: SHA-1 in hex. That is its weakness, and a reason to prefer a token.
fn hashed(secret: &str) -> Zeroizing<String> {
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes());
    Zeroizing::new(digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn read(setting: &'static str, file: &Path) -> Result<Zeroizing<String>, Problem> {
    let bytes = read_private(file).map_err(|error| Problem::File(format!("`{setting}`: {}", no_secret(&error))))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| Problem::File(format!("`{setting}` holds no text")))?;
    if text.trim().is_empty() {
        return Err(Problem::File(format!("`{setting}` is empty; put the secret into its first line")));
    }
    Ok(Zeroizing::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_hashed_as_nightscout_does() {
        assert_eq!(*hashed("this is my long pass phrase"), "b723e97aa97846eb92d5264f084b2823f57c4aa1");
    }
}
