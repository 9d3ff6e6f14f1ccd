// Package blobseal encrypts blobs so that any part of one can be read alone, and hides their keys.
//
// A sealed blob is a header of 16 bytes ("imb", version 1, 4 zero bytes, the blob's size as 8 bytes big-endian) and then
// its bytes in chunks of 64 KiB, the last one shorter; each chunk is followed by its tag of 16 bytes. An empty blob has
// one empty chunk.
//
// Invariants:
//  1. A chunk is sealed by AES-256-GCM under a key of its own blob, HKDF-SHA256 of the data key with the blob's key as
//     salt. Its number is the nonce; header, blob key and number are authenticated with it. So no chunk opens in another
//     place, in another blob, for another size, or under another data key: changed, reordered, repeated and missing
//     chunks are all found, whichever part is read. A nonce is used with one plaintext only, because the blob key is the
//     plaintext's SHA-256: sealing is deterministic, and sealing again gives the same bytes.
//  2. A blob's name is its key, encrypted deterministically with its own authenticator as the initialization vector (as
//     SIV does, RFC 5297): who has the data key gets the key back from a listing; who has not cannot tell whether a
//     content that they know is there.
//  3. A data key never leaves the package, and appears in no error.
package blobseal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"slices"
	"sync/atomic"

	"imapped/domain/fault"
	"imapped/ports/blob"
)

const (
	// KeySize is the length of a data key in bytes.
	KeySize = 32
	// NameSize is the length of a name in characters.
	NameSize = 2 * (ivSize + len(blob.Key{}))

	ivSize     = aes.BlockSize
	headerSize = 16
	tagSize    = 16
	plainChunk = 64 << 10
	chunk      = plainChunk + tagSize
)

// Key seals and opens blobs under one data key. It may be used by any number of goroutines.
type Key struct {
	data []byte
	mac  []byte       // authenticates names
	name cipher.Block // encrypts them
}

// New returns the Key of a data key of KeySize random bytes, which it copies; fault.Invalid for another length.
func New(data []byte) (*Key, error) {
	const op = "prepare a data key"
	if len(data) != KeySize {
		return nil, fault.Newf(fault.Invalid, op, "it has %d bytes, not %d", len(data), KeySize)
	}
	sub, err := hkdf.Key(sha256.New, data, nil, "imapped blob names", 64)
	if err != nil {
		return nil, fault.As(fault.Internal, op, err)
	}
	block, err := aes.NewCipher(sub[32:])
	if err != nil {
		return nil, fault.As(fault.Internal, op, err)
	}
	return &Key{data: bytes.Clone(data), mac: sub[:32], name: block}, nil
}

func (k *Key) iv(key blob.Key) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write(key[:])
	return h.Sum(nil)[:ivSize]
}

// Name returns the name of a blob: NameSize hex digits.
func (k *Key) Name(key blob.Key) string {
	iv := k.iv(key)
	name := slices.Concat(iv, key[:])
	cipher.NewCTR(k.name, iv).XORKeyStream(name[ivSize:], key[:])
	return hex.EncodeToString(name)
}

// Parse returns the blob's key of a name; false for what Name did not make with this data key.
func (k *Key) Parse(name string) (key blob.Key, ok bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(name) != NameSize {
		return key, false
	}
	cipher.NewCTR(k.name, b[:ivSize]).XORKeyStream(key[:], b[ivSize:])
	return key, hmac.Equal(b[:ivSize], k.iv(key))
}

// SealedSize returns how many bytes a blob of size bytes has when it is sealed.
func SealedSize(size int64) int64 {
	return headerSize + size + tagSize*max(1, (size+plainChunk-1)/plainChunk)
}

// PlainSize is the inverse of SealedSize; false for a length that no sealed blob has.
func PlainSize(sealed int64) (int64, bool) {
	body := sealed - headerSize
	size := body - tagSize*max(1, (body+chunk-1)/chunk)
	return size, size >= 0 && SealedSize(size) == sealed
}

// box is the cipher of one blob. It may be used by any number of goroutines.
type box struct {
	aead cipher.AEAD
	size int64 // of the plaintext
	// header, blob key, and room for the chunk number: what is authenticated.
	extra [headerSize + len(blob.Key{}) + 8]byte
}

// box makes the cipher of a blob; only a broken standard library makes it fail.
func (k *Key) box(key blob.Key, size int64) (*box, error) {
	const op = "derive a blob's key"
	sub, err := hkdf.Key(sha256.New, k.data, key[:], "imapped blob", KeySize)
	if err != nil {
		return nil, fault.As(fault.Internal, op, err)
	}
	block, err := aes.NewCipher(sub)
	if err != nil {
		return nil, fault.As(fault.Internal, op, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fault.As(fault.Internal, op, err)
	}
	b := &box{aead: aead, size: size}
	copy(b.extra[:], "imb\x01")
	binary.BigEndian.PutUint64(b.extra[8:], uint64(size))
	copy(b.extra[headerSize:], key[:])
	return b, nil
}

func (b *box) header() []byte { return b.extra[:headerSize] }

// plain returns how many bytes of the blob are in chunk n.
func (b *box) plain(n int64) int { return int(min(plainChunk, b.size-n*plainChunk)) }

// number returns the nonce and the additional data of chunk n.
func (b *box) number(n int64) (nonce [12]byte, extra []byte) {
	binary.BigEndian.PutUint64(nonce[4:], uint64(n))
	extra = bytes.Clone(b.extra[:])
	binary.BigEndian.PutUint64(extra[len(extra)-8:], uint64(n))
	return nonce, extra
}

func (b *box) seal(dst, plain []byte, n int64) []byte {
	nonce, extra := b.number(n)
	return b.aead.Seal(dst, nonce[:], plain, extra)
}

func (b *box) open(dst, sealed []byte, n int64) ([]byte, error) {
	nonce, extra := b.number(n)
	plain, err := b.aead.Open(dst, nonce[:], sealed, extra)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "open a sealed blob", "its bytes were changed, or belong to something else")
	}
	return plain, nil
}

// Sealed reads a blob in its sealed form. It is for one goroutine.
type Sealed struct {
	box *box
	src io.ReaderAt
	at  int64 // the chunk that buf holds; -1: none
	buf []byte
	in  []byte
}

// Seal returns the sealed form of the blob src, which has the key and size bytes.
func (k *Key) Seal(key blob.Key, src io.ReaderAt, size int64) (*Sealed, error) {
	b, err := k.box(key, size)
	if err != nil {
		return nil, err
	}
	return &Sealed{box: b, src: src, at: -1}, nil
}

// Size returns the length of the sealed form.
func (s *Sealed) Size() int64 { return SealedSize(s.box.size) }

// ReadAt implements io.ReaderAt.
func (s *Sealed) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "seal a blob", "negative offset")
	}
	for n < len(p) && off < s.Size() {
		var k int
		if off < headerSize {
			k = copy(p[n:], s.box.header()[off:])
		} else {
			no := (off - headerSize) / chunk
			if err := s.load(no); err != nil {
				return n, err
			}
			k = copy(p[n:], s.buf[off-headerSize-no*chunk:])
		}
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// load seals chunk n into buf.
func (s *Sealed) load(n int64) error {
	if s.at == n {
		return nil
	}
	if s.buf == nil {
		size := int(min(plainChunk, s.box.size))
		s.in, s.buf = make([]byte, size), make([]byte, 0, size+tagSize)
	}
	s.at = -1
	plain := s.in[:s.box.plain(n)]
	if k, err := s.src.ReadAt(plain, n*plainChunk); k < len(plain) {
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fault.As(fault.Unavailable, "seal a blob", err)
	}
	s.buf, s.at = s.box.seal(s.buf[:0], plain, n), n
	return nil
}

// Opened reads a sealed blob in the clear. It may be read by several goroutines.
type Opened struct {
	// box has the plaintext's size as the length of the sealed form says it; every chunk that opens confirms it.
	box  *box
	src  io.ReaderAt
	last atomic.Pointer[opened] // for who reads on in little steps
}

// opened is a chunk in the clear.
type opened struct {
	n     int64
	plain []byte
}

// Open returns the blob with the key that was sealed into src, which has sealed bytes; fault.Corrupt when that length or
// the first chunk cannot be.
func (k *Key) Open(key blob.Key, src io.ReaderAt, sealed int64) (*Opened, error) {
	size, ok := PlainSize(sealed)
	if !ok {
		return nil, fault.Newf(fault.Corrupt, "open a sealed blob", "blob %v cannot have %d sealed bytes", key, sealed)
	}
	b, err := k.box(key, size)
	if err != nil {
		return nil, err
	}
	o := &Opened{box: b, src: src}
	if _, err := o.chunk(0); err != nil {
		return nil, err
	}
	return o, nil
}

// Size returns the length of the plaintext.
func (o *Opened) Size() int64 { return o.box.size }

// ReadAt implements io.ReaderAt. It reads and checks whole chunks.
func (o *Opened) ReadAt(p []byte, off int64) (n int, err error) {
	if off < 0 {
		return 0, fault.New(fault.Invalid, "read a sealed blob", "negative offset")
	}
	for n < len(p) && off < o.box.size {
		no := off / plainChunk
		plain, err := o.chunk(no)
		if err != nil {
			return n, err
		}
		k := copy(p[n:], plain[off-no*plainChunk:])
		n, off = n+k, off+int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// chunk returns chunk n in the clear. Nobody changes it.
func (o *Opened) chunk(n int64) ([]byte, error) {
	const op = "read a sealed blob"
	if last := o.last.Load(); last != nil && last.n == n {
		return last.plain, nil
	}
	off, size := headerSize+n*chunk, o.box.plain(n)+tagSize
	if n == 0 { // with the header
		off, size = 0, size+headerSize
	}
	in := make([]byte, size)
	if k, err := o.src.ReadAt(in, off); k < size {
		if err == nil || errors.Is(err, io.EOF) {
			return nil, fault.New(fault.Corrupt, op, "it is shorter than it was")
		}
		return nil, fault.Wrap(op, err)
	}
	if n == 0 {
		if !bytes.Equal(in[:headerSize], o.box.header()) {
			return nil, fault.New(fault.Corrupt, op, "its header is not that of the blob")
		}
		in = in[headerSize:]
	}
	plain, err := o.box.open(in[:0], in, n)
	if err != nil {
		return nil, err
	}
	o.last.Store(&opened{n, plain})
	return plain, nil
}
