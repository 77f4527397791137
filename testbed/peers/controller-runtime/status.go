package main

import (
	"errors"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What the peer writes.

type Observed struct {
	ObservationTime metav1.Time `json:"observationTime"`
	TenantID        string      `json:"tenantID,omitempty"`
	User            string      `json:"user,omitempty"`
	Database        string      `json:"database,omitempty"`
	ClientIP        string      `json:"clientIP,omitempty"`
	Command         string      `json:"command,omitempty"`
	SQLText         string      `json:"sqlText,omitempty"`
	ExecuteTime     string      `json:"executeTime,omitempty"`
}

type SessionStatus struct {
	ServerIP     string    `json:"serverIP"`
	SessionID    int64     `json:"sessionID"`
	Outcome      string    `json:"outcome"`
	Reason       string    `json:"reason"`
	Status       string    `json:"status,omitempty"`
	ErrorMessage string    `json:"errorMessage,omitempty"`
	Observed     *Observed `json:"observed,omitempty"`
}

type Dispatch struct {
	ReceiptName string      `json:"receiptName"`
	AttemptID   string      `json:"attemptID"`
	Operation   string      `json:"operation"`
	RequestID   string      `json:"requestID,omitempty"`
	StartTime   metav1.Time `json:"startTime"`
}

// Conclusion is how a request ended.
type Conclusion struct {
	Reason   string
	Message  string
	Sessions []SessionStatus
	Dispatch *Dispatch
}

func forAll(sessions []Session, outcome, reason string) []SessionStatus {
	all := make([]SessionStatus, len(sessions))
	for i, session := range sessions {
		all[i] = SessionStatus{
			ServerIP: session.ServerIP, SessionID: session.SessionID, Outcome: outcome, Reason: reason}
	}
	return all
}

// tooLate ends a request of which nothing was sent.
func tooLate(object *SessionKill) Conclusion {
	return Conclusion{"DeadlineExceeded", "notAfterTime passed; nothing was sent",
		forAll(object.Spec.Sessions, "Skipped", "DeadlineExceeded"), nil}
}

// unknown ends a request that somebody claimed who is gone.
func unknown(object *SessionKill, why string) Conclusion {
	return Conclusion{"OutcomeUnknown", why + ": whether the sessions ended cannot be told; nothing is sent again",
		forAll(object.Spec.Sessions, "Unknown", "HolderLost"), nil}
}

// called says what a call came to.
func called(sessions []Session, dispatch Dispatch, answer *Answer, err error) Conclusion {
	var rejected *Rejected
	switch {
	case errors.As(err, &rejected):
		return Conclusion{"KillFailed", "refused by the API before execution, " + rejected.Code,
			forAll(sessions, "Failed", "RequestRejected"), &dispatch}
	case err != nil:
		return Conclusion{"OutcomeUnknown", "the call was sent and no certain answer came",
			forAll(sessions, "Unknown", "AnswerLost"), &dispatch}
	}
	dispatch.RequestID = clamp(answer.RequestId, 64)
	all := forAll(sessions, "Unknown", "MissingInAnswer")
	for i := range all {
		for _, row := range answer.Data {
			if row.SessionId == all[i].SessionID && row.ServerIp == all[i].ServerIP {
				all[i].answered(row)
			}
		}
	}
	killed, failed, unknown := count(all)
	reason := "PartiallyKilled"
	switch {
	case unknown > 0:
		reason = "OutcomeUnknown"
	case killed == len(all):
		reason = "SessionsKilled"
	case failed == len(all):
		reason = "KillFailed"
	}
	return Conclusion{reason, fmt.Sprintf("%d of %d sessions killed", killed, len(all)), all, &dispatch}
}

func (s *SessionStatus) answered(row Row) {
	s.Outcome, s.Reason = "Killed", "Accepted"
	if row.ErrorMessage != "" {
		s.Outcome, s.Reason = "Failed", "KillRefused"
	}
	s.Status, s.ErrorMessage = clamp(row.Status, 64), clamp(row.ErrorMessage, 1024)
	s.Observed = &Observed{
		ObservationTime: metav1.Now(),
		TenantID:        clamp(row.TenantId, 64),
		User:            clamp(row.User, 128),
		Database:        clamp(row.Database, 128),
		ClientIP:        clamp(row.ClientIp, 64),
		Command:         clamp(row.Command, 64),
		SQLText:         clamp(row.SqlText, 256),
		ExecuteTime:     clamp(row.ExecuteTime, 32),
	}
}

func count(sessions []SessionStatus) (killed, failed, unknown int) {
	for _, session := range sessions {
		switch session.Outcome {
		case "Killed":
			killed++
		case "Failed":
			failed++
		case "Unknown":
			unknown++
		}
	}
	return killed, failed, unknown
}

func conditions(object *SessionKill, succeeded, reason, message string) []metav1.Condition {
	condition := func(kind, status string) metav1.Condition {
		return metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason, Message: message,
			ObservedGeneration: object.Generation, LastTransitionTime: metav1.Now()}
	}
	switch succeeded {
	case "Unknown":
		return []metav1.Condition{condition("Succeeded", "Unknown"), condition("Ready", "False"),
			condition("Reconciling", "True")}
	case "True":
		return []metav1.Condition{condition("Succeeded", "True"), condition("Ready", "True")}
	}
	return []metav1.Condition{condition("Succeeded", "False"), condition("Ready", "False"), condition("Stalled", "True")}
}

// finished is the last status of a request.
func finished(object *SessionKill, end *Conclusion) map[string]any {
	killed, failed, unknown := count(end.Sessions)
	skipped := len(end.Sessions) - killed - failed - unknown
	succeeded := "False"
	if end.Reason == "SessionsKilled" || end.Reason == "AlreadyExecuted" {
		succeeded = "True"
	}
	now := metav1.Now()
	status := map[string]any{
		"observedGeneration": object.Generation,
		"startTime":          now,
		"completionTime":     now,
		"counts": map[string]int{"total": len(end.Sessions), "killed": killed, "failed": failed, "unknown": unknown,
			"gone": 0, "skipped": skipped},
		"sessions":   end.Sessions,
		"conditions": conditions(object, succeeded, end.Reason, end.Message),
	}
	// A merge patch keeps what it does not name: the dispatch of a claim.
	if end.Dispatch != nil {
		status["startTime"], status["dispatch"] = end.Dispatch.StartTime, end.Dispatch
	}
	if object.Status.StartTime != nil {
		status["startTime"] = object.Status.StartTime
	}
	return status
}

// clamp cuts a text to what the schema allows, which counts characters.
func clamp(text string, limit int) string {
	text = strings.ToValidUTF8(text, "?")
	if characters := []rune(text); len(characters) > limit {
		return string(characters[:limit])
	}
	return text
}
