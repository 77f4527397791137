package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Gateway calls the OceanBasePro API, as whoever the access key says.
type Gateway struct {
	Client        *http.Client
	Endpoint      string
	AccessKeyID   string
	AccessKey     string
	SecurityToken string
}

type Row struct {
	SessionId                                                          int64
	ServerIp                                                           string
	Status                                                             string
	ErrorMessage, ClientIp, TenantId, User, Database, SqlText, Command string
	ExecuteTime                                                        string
}

type Answer struct {
	RequestId string
	Code      string
	Message   string
	Data      []Row
}

// Rejected is the API's refusal of a call before its execution. Any other error leaves open what came of the call.
type Rejected struct{ Code, Message string }

func (r *Rejected) Error() string { return r.Code + ": " + r.Message }

// NewHTTPClient keeps a connection for each of the workers; the default keeps two for a host and would dial for most calls.
func NewHTTPClient(workers int) *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = workers
	return &http.Client{
		Transport: transport,
		// A redirect would send a kill to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// KillProcessList makes the one call, signed with ACS3-HMAC-SHA256. net/http does not repeat a POST of which anything was sent.
func (g *Gateway) KillProcessList(ctx context.Context, spec *SessionKillSpec) (*Answer, error) {
	type target struct {
		ServerIp  string
		SessionId int64
	}
	targets := make([]target, len(spec.Sessions))
	for i, session := range spec.Sessions {
		targets[i] = target{session.ServerIP, session.SessionID}
	}
	list, err := json.Marshal(targets)
	if err != nil {
		return nil, err
	}
	form := url.Values{"InstanceId": {spec.InstanceID}, "TenantId": {spec.TenantID}, "SessionList": {string(list)}}
	request, err := g.signed(ctx, "KillProcessList", form.Encode())
	if err != nil {
		return nil, err
	}
	response, err := g.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var answer Answer
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("HTTP %d with a body that is no answer", response.StatusCode)
	}
	switch {
	case answer.Code != "" && response.StatusCode/100 == 4:
		return nil, &Rejected{answer.Code, answer.Message}
	case answer.Code != "" || response.StatusCode/100 != 2:
		return nil, fmt.Errorf("HTTP %d, code %s", response.StatusCode, answer.Code)
	}
	return &answer, nil
}

func (g *Gateway) signed(ctx context.Context, action, body string) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.Endpoint+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(body))
	headers := map[string]string{
		"host":                  request.Host,
		"content-type":          "application/x-www-form-urlencoded",
		"x-acs-action":          action,
		"x-acs-version":         "2019-09-01",
		"x-acs-date":            time.Now().UTC().Format("2006-01-02T15:04:05Z"),
		"x-acs-signature-nonce": rand.Text(),
		"x-acs-content-sha256":  hex.EncodeToString(hash[:]),
	}
	if g.SecurityToken != "" {
		headers["x-acs-accesskey-id"], headers["x-acs-security-token"] = g.AccessKeyID, g.SecurityToken
	}
	names := slices.Sorted(maps.Keys(headers))
	var block strings.Builder
	for _, name := range names {
		fmt.Fprintf(&block, "%s:%s\n", name, headers[name])
		if name != "host" {
			request.Header.Set(name, headers[name])
		}
	}
	signedHeaders := strings.Join(names, ";")
	canonical := strings.Join(
		[]string{"POST", "/", "", block.String(), signedHeaders, headers["x-acs-content-sha256"]}, "\n")
	canonicalHash := sha256.Sum256([]byte(canonical))
	mac := hmac.New(sha256.New, []byte(g.AccessKey))
	mac.Write([]byte("ACS3-HMAC-SHA256\n" + hex.EncodeToString(canonicalHash[:])))
	request.Header.Set("Authorization", fmt.Sprintf("ACS3-HMAC-SHA256 Credential=%s,SignedHeaders=%s,Signature=%s",
		g.AccessKeyID, signedHeaders, hex.EncodeToString(mac.Sum(nil))))
	return request, nil
}
