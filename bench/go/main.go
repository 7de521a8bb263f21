// A minimal Go proxy that does the work of a leased wrap and nothing else: the yardstick for "the same in Go".
//
// It checks the API key in constant time, decodes the body strictly, makes a DEK and an IV, seals the DEK under the
// tenant's leased key with AES-256-GCM, writes the EDEK, counts, and appends an event to a bounded ring.
package main

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

type fields struct {
	RequestingID string `json:"requestingId"`
	DataLabel    string `json:"dataLabel"`
	SourceIP     string `json:"sourceIp"`
	ObjectID     string `json:"objectId"`
	RequestID    string `json:"requestId"`
}

type request struct {
	TenantID     string            `json:"tenantId"`
	IclFields    fields            `json:"iclFields"`
	CustomFields map[string]string `json:"customFields"`
}

type event struct {
	at     int64
	serial uint64
	tenant string
	fields fields
}

type lease struct {
	aead         cipher.AEAD
	head, middle []byte
	tail         []byte
}

type outbox struct {
	sync.Mutex
	ring [50000]event
	next int
}

func newLease() *lease {
	key := make([]byte, 32)
	wrapped := make([]byte, 120)
	rand.Read(key)
	rand.Read(wrapped)
	block, _ := aes.NewCipher(key)
	aead, _ := cipher.NewGCM(block)
	return &lease{
		aead:   aead,
		head:   []byte{0x0a, 0xc0, 0x01, 0x0a, 0x30},
		middle: []byte{0x10, 0xff, 0x03, 0x18, 0x80, 0x05, 0x22, 0x0c},
		tail:   append([]byte{0x2a, 0x78}, wrapped...),
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	authorization := []byte("cmk " + os.Args[2])
	leases := map[string]*lease{os.Args[3]: newLease()}
	var events outbox
	var served, serial uint64
	http.HandleFunc("/api/1/document/wrap", func(w http.ResponseWriter, r *http.Request) {
		if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), authorization) != 1 {
			http.Error(w, `{"code":101,"message":"unauthorized"}`, 401)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 8<<20))
		var req request
		if err != nil || json.Unmarshal(body, &req) != nil || req.IclFields.RequestingID == "" {
			http.Error(w, `{"code":102,"message":"invalid"}`, 400)
			return
		}
		l := leases[req.TenantID]
		if l == nil {
			http.Error(w, `{"code":201,"message":"unknown tenant"}`, 422)
			return
		}
		random := make([]byte, 44)
		rand.Read(random)
		dek, iv := random[:32], random[32:]
		edek := make([]byte, 0, 256)
		edek = append(edek, l.head...)
		edek = l.aead.Seal(edek, iv, dek, nil)
		edek = append(edek, l.middle...)
		edek = append(edek, iv...)
		edek = append(edek, l.tail...)
		events.Lock()
		events.ring[events.next%len(events.ring)] = event{time.Now().UnixMilli(), atomic.AddUint64(&serial, 1), req.TenantID, req.IclFields}
		events.next++
		events.Unlock()
		atomic.AddUint64(&served, 1)
		answer, _ := json.Marshal(struct {
			Dek  string `json:"dek"`
			Edek string `json:"edek"`
		}{base64.StdEncoding.EncodeToString(dek), base64.StdEncoding.EncodeToString(edek)})
		w.Header().Set("Content-Type", "application/json")
		w.Write(answer)
	})
	if err := http.ListenAndServe("127.0.0.1:"+os.Args[1], nil); err != nil {
		panic(err)
	}
}
