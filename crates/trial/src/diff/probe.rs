//! Health probes over HTTP/1.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::answer::Answer;
use super::side::CALL_MAX;

/// A GET; code and body are compared, the lines of a body as a set: etcd's come from a Go map.
pub async fn get(authority: &str, target: &str) -> Answer {
    let work = async {
        let mut socket = TcpStream::connect(authority).await?;
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let text = match tokio::time::timeout(CALL_MAX, work).await {
        Err(_) => "no answer in time".to_owned(),
        Ok(Err(why)) => format!("broken: {why}"),
        Ok(Ok(answer)) => settled(&answer),
    };
    Answer { text, ..Answer::default() }
}

fn settled(answer: &str) -> String {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let code = head.split(' ').nth(1).unwrap_or_default();
    let mut lines: Vec<&str> = body.lines().collect();
    lines.sort_unstable();
    format!("http {code} in {} bytes: {}", body.len(), lines.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::settled;

    #[test]
    fn lines_are_a_set_and_the_code_and_the_length_count() {
        let answer = |code, body| settled(&format!("HTTP/1.1 {code} X\r\nA: b\r\n\r\n{body}"));
        assert_eq!(answer(503, "[+]a\n[-]b\n"), answer(503, "[-]b\n[+]a\n"));
        assert_ne!(answer(503, "[+]a\n"), answer(200, "[+]a\n"));
        assert_ne!(answer(200, "ok\n"), answer(200, "ok"));
    }
}
