package main

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
)

// What the peer reads of the objects; what it writes goes out as patches.

type Session struct {
	ServerIP  string `json:"serverIP"`
	SessionID int64  `json:"sessionID"`
	// Set when the request has preconditions, which the peer does not know how to check.
	Expect *struct{} `json:"expect,omitempty"`
}

type SessionKillSpec struct {
	ConnectionRef corev1.LocalObjectReference `json:"connectionRef"`
	InstanceID    string                      `json:"instanceID"`
	TenantID      string                      `json:"tenantID"`
	Sessions      []Session                   `json:"sessions"`
	Mode          string                      `json:"mode"`
	Suspend       bool                        `json:"suspend,omitempty"`
	NotBeforeTime string                      `json:"notBeforeTime,omitempty"`
	NotAfterTime  metav1.Time                 `json:"notAfterTime"`
	Verification  struct {
		Policy string `json:"policy"`
	} `json:"verification"`
}

type SessionKill struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              SessionKillSpec `json:"spec"`
	Status            struct {
		StartTime      *metav1.Time `json:"startTime,omitempty"`
		CompletionTime *metav1.Time `json:"completionTime,omitempty"`
	} `json:"status"`
}

type SessionKillList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []SessionKill `json:"items"`
}

type OceanBaseConnection struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		AlibabaCloud struct {
			Endpoint    string `json:"endpoint"`
			Credentials struct {
				SecretRef struct {
					Name string `json:"name"`
				} `json:"secretRef"`
			} `json:"credentials"`
		} `json:"alibabaCloud"`
	} `json:"spec"`
}

type OceanBaseConnectionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata"`
	Items           []OceanBaseConnection `json:"items"`
}

type SessionKillReceipt struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              SessionKillReceiptSpec    `json:"spec"`
	Status            *SessionKillReceiptStatus `json:"status,omitempty"`
}

type SessionKillReceiptSpec struct {
	SessionKillRef struct {
		Name string    `json:"name"`
		UID  types.UID `json:"uid"`
	} `json:"sessionKillRef"`
	AttemptID            string          `json:"attemptID"`
	HolderIdentity       string          `json:"holderIdentity"`
	ClaimTime            metav1.Time     `json:"claimTime"`
	DispatchDeadlineTime metav1.Time     `json:"dispatchDeadlineTime"`
	SettleDeadlineTime   metav1.Time     `json:"settleDeadlineTime"`
	NotAfterTime         metav1.Time     `json:"notAfterTime"`
	ConnectionName       string          `json:"connectionName"`
	InstanceID           string          `json:"instanceID"`
	TenantID             string          `json:"tenantID"`
	Operation            string          `json:"operation"`
	Sessions             []SessionStatus `json:"sessions"`
}

type SessionKillReceiptStatus struct {
	Outcome        string          `json:"outcome"`
	CompletionTime metav1.Time     `json:"completionTime"`
	RequestID      string          `json:"requestID,omitempty"`
	Operation      string          `json:"operation"`
	Sessions       []SessionStatus `json:"sessions"`
}

// Shared slices and pointers are never written to: objects are read only.

func (in *SessionKill) DeepCopyObject() runtime.Object {
	out := *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

func (in *SessionKillList) DeepCopyObject() runtime.Object {
	out := *in
	out.Items = slices.Clone(in.Items)
	return &out
}

func (in *OceanBaseConnection) DeepCopyObject() runtime.Object {
	out := *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

func (in *OceanBaseConnectionList) DeepCopyObject() runtime.Object {
	out := *in
	out.Items = slices.Clone(in.Items)
	return &out
}

func (in *SessionKillReceipt) DeepCopyObject() runtime.Object {
	out := *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	return &out
}

var groupVersion = schema.GroupVersion{Group: "sessionkill.dev", Version: "v1alpha1"}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(corev1.AddToScheme(scheme))
	scheme.AddKnownTypes(groupVersion,
		&SessionKill{}, &SessionKillList{}, &OceanBaseConnection{}, &OceanBaseConnectionList{},
		&SessionKillReceipt{})
	metav1.AddToGroupVersion(scheme, groupVersion)
	return scheme
}
