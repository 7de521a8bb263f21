// A real Transit engine behind a small HTTP door: the engine's own code decides every answer and every status.
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
	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/logical"
)

func main() {
	storage := &logical.InmemStorage{}
	engine, err := transit.Factory(context.Background(), &logical.BackendConfig{
		StorageView: storage,
		Logger:      log.NewNullLogger(),
		System:      &logical.StaticSystemView{DefaultLeaseTTLVal: 3600e9, MaxLeaseTTLVal: 3600e9},
		BackendUUID: "transit",
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	door := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Vault-Token") != "root" {
			say(w, http.StatusForbidden, map[string]any{"errors": []string{"permission denied"}})
			return
		}
		path, mounted := strings.CutPrefix(r.URL.Path, "/v1/transit/")
		if !mounted {
			say(w, http.StatusNotFound, map[string]any{"errors": []string{}})
			return
		}
		body := map[string]any{}
		_ = json.NewDecoder(r.Body).Decode(&body)
		operation := map[string]logical.Operation{"GET": logical.ReadOperation, "DELETE": logical.DeleteOperation}[r.Method]
		if operation == "" {
			operation = logical.UpdateOperation
		}
		request := &logical.Request{Operation: operation, Path: path, Data: body, Storage: storage, MountPoint: "transit/"}
		if operation == logical.UpdateOperation {
			if checked, exists, err := engine.HandleExistenceCheck(r.Context(), request); err == nil && checked && !exists {
				request.Operation = logical.CreateOperation
			}
		}
		response, err := engine.HandleRequest(r.Context(), request)
		status, respErr := logical.RespondErrorCommon(request, response, err)
		if respErr != nil || (err != nil && status == 0) {
			if status == 0 {
				status = http.StatusInternalServerError
			}
			if respErr == nil {
				respErr = errors.New("internal error")
			}
			say(w, status, map[string]any{"errors": []string{respErr.Error()}})
			return
		}
		if response == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		say(w, http.StatusOK, map[string]any{"data": response.Data})
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(listener.Addr().String())
	_ = http.Serve(listener, door)
}

func say(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
