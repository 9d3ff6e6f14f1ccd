# Changes mail with curl: sh curl.sh HOST:PORT USER PASSWORD. Each step must succeed.
set -eu
url=imap://$1
run() { curl -sS --max-time 60 --user "$user" "$@"; }
user=$2:$3

run "$url" -X 'CREATE Curl'
run "$url" -X 'CREATE Curl/Copies'
run "$url" -X 'CREATE CurlOld'
for i in 1 2 3 4; do
    printf 'Subject: curl %d\r\nMessage-ID: <curl-%d@curl.example>\r\n\r\nuploaded by curl\r\n' "$i" "$i" >/curl-mail
    run "$url/Curl" -T /curl-mail
done
run "$url/Curl" -X 'STORE 1 +FLAGS (\Flagged)' >/dev/null
run "$url/Curl" -X 'UID STORE 2 FLAGS (\Answered $Curl)' >/dev/null
run "$url/Curl" -X 'COPY 1:2 Curl/Copies'
run "$url/Curl" -X 'UID MOVE 3 Curl/Copies' >/dev/null
run "$url/Curl" -X 'STORE 3 +FLAGS.SILENT (\Deleted)'
run "$url/Curl" -X 'EXPUNGE' >/dev/null
run "$url" -X 'RENAME CurlOld CurlNew'
run "$url" -X 'SUBSCRIBE CurlNew'
run "$url" -X 'DELETE CurlNew'
run "$url/Curl;UID=1" >/dev/null
if run "$url" -X 'DELETE CurlNew' 2>/dev/null; then
    echo 'what does not exist was deleted'
    exit 1
fi
