//! An answer in HTTP/1.1 (RFC 9112): its head and its body, within bounds, and whether the connection can be used again.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use super::problem::Problem;

/// Bytes that an answer's head may have, and lines of it.
const HEAD_BYTES_MAX: usize = 32 * 1024;
const HEADERS_MAX: usize = 128;
/// Bytes of the line that says how long a chunk is.
const CHUNK_LINE_BYTES_MAX: usize = 1_024;
/// Answers that only say that another follows.
const INTERIM_MAX: usize = 8;

/// What an answer says before its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Whether it is of HTTP/1.1, whose connections stay.
    stays: bool,
    /// Names in lower case.
    headers: Vec<(String, String)>,
}

/// How long a body is (RFC 9112, section 6.3).
#[derive(Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunks,
    ToTheEnd,
}

impl Head {
    /// The value of a header that is there once.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(one, _)| one == name).map(|(_, value)| value.as_str());
        values.next().filter(|first| values.all(|other| other == *first))
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(one, _)| one == name)
    }

    fn length(&self) -> Result<Length, Problem> {
        if matches!(self.status, 204 | 304) {
            return Ok(Length::Known(0));
        }
        if self.has("transfer-encoding") {
            let is_chunked = self.get("transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked"));
            return if is_chunked {
                Ok(Length::Chunks)
            } else {
                Err(broken("a body in a form that was not asked for"))
            };
        }
        if !self.has("content-length") {
            return Ok(Length::ToTheEnd);
        }
        let digits = self.get("content-length").filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|text| text.parse().ok());
        length.map(Length::Known).ok_or_else(|| broken("a length that is none"))
    }
}

fn broken(what: &str) -> Problem {
    Problem::Broken(what.to_owned())
}

/// A whole answer of at most `bytes_max` bytes, and whether another may follow on the same connection.
pub(super) async fn read(
    reader: &mut (impl AsyncBufRead + Unpin),
    bytes_max: usize,
) -> Result<(Head, Vec<u8>, bool), Problem> {
    let mut head = head(reader).await?;
    for _ in 0..INTERIM_MAX {
        if !(100..=199).contains(&head.status) {
            break;
        }
        head = self::head(reader).await?;
    }
    let (length, mut body) = (head.length()?, Vec::new());
    match length {
        Length::Known(length) => take(reader, length, bytes_max, &mut body).await?,
        Length::Chunks => chunks(reader, bytes_max, &mut body).await?,
        Length::ToTheEnd => loop {
            let piece = fill(reader).await?;
            let count = piece.len();
            if count == 0 {
                break;
            }
            keep(piece, bytes_max, &mut body)?;
            reader.consume(count);
        },
    }
    let closes = head.get("connection").is_some_and(|how| how.to_ascii_lowercase().contains("close"));
    let again = head.stays && !closes && length != Length::ToTheEnd && (200..=599).contains(&head.status);
    Ok((head, body, again))
}

async fn head(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<Head, Problem> {
    let mut left = HEAD_BYTES_MAX;
    let nonsense = || broken("an answer that is not HTTP");
    let first = line(reader, &mut left).await?;
    let (version, rest) = first.split_once(' ').ok_or_else(nonsense)?;
    let status = rest.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let status = status.and_then(|digits| digits.parse().ok()).ok_or_else(nonsense)?;
    if !matches!(version, "HTTP/1.1" | "HTTP/1.0") || !matches!(rest.as_bytes().get(3), None | Some(b' ')) {
        return Err(nonsense());
    }
    let mut headers = Vec::new();
    loop {
        let line = line(reader, &mut left).await?;
        if line.is_empty() {
            return Ok(Head { status, stays: version == "HTTP/1.1", headers });
        }
        let (name, value) = line.split_once(':').ok_or_else(nonsense)?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name || headers.len() == HEADERS_MAX {
            return Err(nonsense());
        }
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// A line without its end; `left` is how long it may be at most, and how long the next.
async fn line(reader: &mut (impl AsyncBufRead + Unpin), left: &mut usize) -> Result<String, Problem> {
    let mut line = Vec::new();
    loop {
        let piece = fill(reader).await?;
        if piece.is_empty() {
            return Err(broken("it ended in the middle of an answer"));
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let count = end.map_or(piece.len(), |end| end + 1);
        *left = left.checked_sub(count).ok_or_else(|| broken("a head that is too long"))?;
        line.extend_from_slice(&piece[..count]);
        reader.consume(count);
        if end.is_some() {
            line.pop();
            line.pop_if(|last| *last == b'\r');
            return String::from_utf8(line).map_err(|_| broken("an answer that is not HTTP"));
        }
    }
}

/// The next bytes that are there; none at the end.
async fn fill(reader: &mut (impl AsyncBufRead + Unpin)) -> Result<&[u8], Problem> {
    reader.fill_buf().await.map_err(|error| Problem::Broken(error.to_string()))
}

fn keep(piece: &[u8], bytes_max: usize, body: &mut Vec<u8>) -> Result<(), Problem> {
    if piece.len() > bytes_max.saturating_sub(body.len()) {
        return Err(Problem::TooLarge { bytes_max });
    }
    body.extend_from_slice(piece);
    Ok(())
}

/// Just `length` bytes more.
async fn take(
    reader: &mut (impl AsyncBufRead + Unpin),
    mut length: usize,
    bytes_max: usize,
    body: &mut Vec<u8>,
) -> Result<(), Problem> {
    if length > bytes_max.saturating_sub(body.len()) {
        return Err(Problem::TooLarge { bytes_max });
    }
    while length > 0 {
        let piece = fill(reader).await?;
        if piece.is_empty() {
            return Err(broken("it ended in the middle of an answer"));
        }
        let count = piece.len().min(length);
        keep(&piece[..count], bytes_max, body)?;
        reader.consume(count);
        length -= count;
    }
    Ok(())
}

async fn chunks(reader: &mut (impl AsyncBufRead + Unpin), bytes_max: usize, body: &mut Vec<u8>) -> Result<(), Problem> {
    let nonsense = || broken("a body whose parts are not told apart");
    loop {
        let size = line(reader, &mut { CHUNK_LINE_BYTES_MAX }).await?;
        let digits = size.split(';').next().unwrap_or_default().trim();
        let is_hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let length = usize::from_str_radix(digits, 16).ok().filter(|_| is_hex).ok_or_else(nonsense)?;
        if length == 0 {
            break;
        }
        take(reader, length, bytes_max, body).await?;
        if !line(reader, &mut { CHUNK_LINE_BYTES_MAX }).await?.is_empty() {
            return Err(nonsense());
        }
    }
    // What may follow is said in headers that nobody needs.
    let mut left = HEAD_BYTES_MAX;
    while !line(reader, &mut left).await?.is_empty() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(text: &str) -> Result<(u16, String, bool), Problem> {
        let mut reader = tokio::io::BufReader::with_capacity(3, text.as_bytes());
        let (head, body, again) = read(&mut reader, 100).await?;
        Ok((head.status, String::from_utf8(body).unwrap(), again))
    }

    #[tokio::test]
    async fn every_way_to_say_how_long_a_body_is_is_understood() {
        for (text, status, body, again) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcd", 200, "abc", true),
            ("HTTP/1.1 200\r\ncontent-length: 3\r\nContent-Length:3\r\n\r\nabc", 200, "abc", true),
            ("HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", 200, "abc", true),
            ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", false),
            ("HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 3\r\n\r\nabc", 200, "abc", false),
            ("HTTP/1.1 200 OK\r\n\r\nabc", 200, "abc", false),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1;x=y\r\nc\r\n0\r\nA: b\r\n\r\n",
                200,
                "abc",
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                200,
                "abc",
                true,
            ),
            ("HTTP/1.1 304 Not Modified\r\nContent-Length: 30\r\n\r\n", 304, "", true),
            ("HTTP/1.1 204 No Content\r\n\r\n", 204, "", true),
            ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404, "", true),
        ] {
            assert_eq!(said(text).await, Ok((status, body.to_owned(), again)), "{text:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_too_long_or_none_is_refused() {
        let long = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(HEADERS_MAX + 1));
        let hints = "HTTP/1.1 100 Go\r\n\r\n".repeat(INTERIM_MAX + 2);
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
            "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\nabc",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n folded: c\r\n\r\n",
            "SSH-2.0-OpenSSH_9.2\r\n",
            &long,
            &many,
        ] {
            let problem = said(text).await.unwrap_err();
            assert!(matches!(problem, Problem::Broken(_)), "{text:?}: {problem:?}");
        }
        assert!(!said(&hints).await.is_ok_and(|(_, _, again)| again));
        for body in [
            format!("Content-Length: 101\r\n\r\n{}", "x".repeat(101)),
            format!("\r\n{}", "x".repeat(101)),
            format!("Transfer-Encoding: chunked\r\n\r\n64\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(100)),
            "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx".to_owned(),
        ] {
            let problem = said(&format!("HTTP/1.1 200 OK\r\n{body}")).await.unwrap_err();
            assert_eq!(problem, Problem::TooLarge { bytes_max: 100 }, "{body:?}");
        }
    }
}
