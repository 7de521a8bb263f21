// The real Transit engine and the real AppRole auth method behind a small HTTP door: their own code decides every
// answer and every status. Tokens are not kept: everybody who signs in is told so, and "root" opens the engine.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	log "github.com/hashicorp/go-hclog"
	"github.com/hashicorp/vault/builtin/credential/approle"
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/logical"
)

type mounted struct {
	backend logical.Backend
	storage logical.Storage
	open    bool
}

func main() {
	mounts := map[string]mounted{
		"transit/":      mount(transit.Factory, "transit", false),
		"auth/approle/": mount(approle.Factory, "approle", true),
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	stopAt(err)
	fmt.Println(listener.Addr().String())
	stopAt(http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/v1/")
		for prefix, at := range mounts {
			if rest, found := strings.CutPrefix(path, prefix); found {
				if !at.open && r.Header.Get("X-Vault-Token") != "root" {
					refuse(w, http.StatusForbidden, "permission denied")
					return
				}
				serve(w, r, at, prefix, rest)
				return
			}
		}
		refuse(w, http.StatusNotFound, "no handler for route")
	})))
}

func mount(factory logical.Factory, name string, open bool) mounted {
	storage := &logical.InmemStorage{}
	backend, err := factory(context.Background(), &logical.BackendConfig{
		StorageView: storage,
		Logger:      log.NewNullLogger(),
		System:      &logical.StaticSystemView{DefaultLeaseTTLVal: 3600e9, MaxLeaseTTLVal: 3600e9},
		BackendUUID: name,
	})
	stopAt(err)
	stopAt(backend.Initialize(context.Background(), &logical.InitializationRequest{Storage: storage}))
	return mounted{backend, storage, open}
}

func serve(w http.ResponseWriter, r *http.Request, at mounted, prefix, path string) {
	body := map[string]any{}
	_ = json.NewDecoder(r.Body).Decode(&body)
	var operation logical.Operation = logical.UpdateOperation
	switch r.Method {
	case http.MethodGet:
		operation = logical.ReadOperation
	case http.MethodDelete:
		operation = logical.DeleteOperation
	}
	request := &logical.Request{
		Operation:  operation,
		Path:       path,
		Data:       body,
		Storage:    at.storage,
		MountPoint: prefix,
		Connection: &logical.Connection{RemoteAddr: "127.0.0.1"},
	}
	if operation == logical.UpdateOperation {
		if checked, exists, err := at.backend.HandleExistenceCheck(r.Context(), request); err == nil && checked && !exists {
			request.Operation = logical.CreateOperation
		}
	}
	response, err := at.backend.HandleRequest(r.Context(), request)
	status, refused := logical.RespondErrorCommon(request, response, err)
	switch {
	case refused != nil || err != nil:
		if refused == nil {
			refused = errors.New("internal error")
		}
		if status == 0 {
			status = http.StatusInternalServerError
		}
		refuse(w, status, refused.Error())
	case response == nil:
		w.WriteHeader(http.StatusNoContent)
	case response.Auth != nil:
		say(w, http.StatusOK, map[string]any{"auth": map[string]any{
			"client_token":   "root",
			"lease_duration": int(response.Auth.TTL.Seconds()),
			"num_uses":       response.Auth.NumUses,
		}})
	default:
		say(w, http.StatusOK, map[string]any{"data": response.Data})
	}
}

func refuse(w http.ResponseWriter, status int, text string) {
	say(w, status, map[string]any{"errors": []string{text}})
}

func say(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func stopAt(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
