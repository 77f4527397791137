package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// newReceipt is the claim of object for one attempt, whose dispatch it completes by its name.
func newReceipt(object *SessionKill, dispatch *Dispatch, holder string) *SessionKillReceipt {
	spec := &object.Spec
	dispatch.ReceiptName = receiptName(spec)
	dispatchDeadline := dispatch.StartTime.Add(callLimit)
	if dispatchDeadline.After(spec.NotAfterTime.Time) {
		dispatchDeadline = spec.NotAfterTime.Time
	}
	receipt := &SessionKillReceipt{
		ObjectMeta: metav1.ObjectMeta{Namespace: object.Namespace, Name: dispatch.ReceiptName},
		Spec: SessionKillReceiptSpec{
			AttemptID:            dispatch.AttemptID,
			HolderIdentity:       holder,
			ClaimTime:            dispatch.StartTime,
			DispatchDeadlineTime: metav1.NewTime(dispatchDeadline),
			SettleDeadlineTime:   metav1.NewTime(dispatchDeadline.Add(callLimit + settleMargin)),
			NotAfterTime:         spec.NotAfterTime,
			ConnectionName:       spec.ConnectionRef.Name,
			InstanceID:           spec.InstanceID,
			TenantID:             spec.TenantID,
			Operation:            dispatch.Operation,
			Sessions:             forAll(spec.Sessions, "Pending", "Waiting"),
		},
	}
	receipt.Spec.SessionKillRef.Name, receipt.Spec.SessionKillRef.UID = object.Name, object.UID
	return receipt
}

// receiptName is derived as the operator under test derives it, so that each respects the other's receipts.
func receiptName(spec *SessionKillSpec) string {
	sessions := slices.SortedFunc(slices.Values(spec.Sessions), func(a, b Session) int {
		return cmp.Or(strings.Compare(a.ServerIP, b.ServerIP), cmp.Compare(a.SessionID, b.SessionID))
	})
	notAfter := spec.NotAfterTime.Time
	// Strings and integers are always encoded.
	canonical, _ := json.Marshal(struct {
		Form       int         `json:"form"`
		Connection string      `json:"connection"`
		Instance   string      `json:"instance"`
		Tenant     string      `json:"tenant"`
		Sessions   []Session   `json:"sessions"`
		NotAfter   json.Number `json:"not_after"`
	}{1, spec.ConnectionRef.Name, spec.InstanceID, spec.TenantID, sessions,
		json.Number(fmt.Sprintf("%d%09d", notAfter.Unix(), notAfter.Nanosecond()))})
	hash := sha256.Sum256(canonical)
	return "sk-" + hex.EncodeToString(hash[:])[:40]
}
